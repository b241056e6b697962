"""The surroundings of child processes: the same packages, and nothing from the current folder.

Python started with `-m` or `-c` looks for modules in the current folder first. That is where people
keep data that others sent them: a `queue.py` or `torch.py` among it would be run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = str(Path(__file__).parents[2])
SAFE = "PYTHONSAFEPATH"


def safe_environment(**more: str) -> dict[str, str]:
    """Return the environment of a child process that imports what this one does.

    The current folder is not on its path, also where it is on this process's.
    """
    here = os.path.realpath(Path.cwd())
    paths = [path for path in sys.path if path and os.path.realpath(path) != here]
    path = os.pathsep.join(dict.fromkeys([*paths, _ROOT]))
    return {**os.environ, "PYTHONPATH": path, SAFE: "1", **more}


@contextmanager
def safe_children() -> Iterator[None]:
    """Keep the current folder off the path of processes that a library starts as this one was.

    A script's own folder stays on its path; only `python -m` would look in the current one.
    """
    main = sys.modules.get("__main__")
    before = os.environ.get(SAFE)
    if getattr(main, "__spec__", None) is not None:
        os.environ[SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE, None)
        else:
            os.environ[SAFE] = before
