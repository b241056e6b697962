"""Paths that a person enters, of which some cannot even be looked up.

A folder that is locked, a name that is too long or holds a character that no file name can: the
system raises where one would expect "not there".
"""

from __future__ import annotations

import errno
from pathlib import Path

from napari_damm.util.errors import one_line

LOOKUP_ERRORS = (OSError, RuntimeError)
"""RuntimeError is what "~" without a home folder raises."""
LONGEST = 80


def check_lookup(path: Path) -> None:
    """Raise OSError where a path cannot be looked up; pathlib calls some of them missing."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except ValueError:  # a NUL, a lone surrogate
        raise OSError(errno.EINVAL, "no file can be called so") from None


def cannot_look_up(text: str, error: BaseException) -> str:
    """Say in one sentence that a path cannot be looked up, and why."""
    readable = text.encode(errors="replace").decode().replace("\0", "?")
    shown = readable if len(readable) <= LONGEST else f"{readable[: LONGEST - 1]}…"
    why = getattr(error, "strerror", None) or one_line(error).rstrip(".")
    return f"'{shown}' cannot be looked up ({why}): choose another"
