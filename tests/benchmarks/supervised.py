"""Parts of a long measurement in a process of their own, begun anew where a part has ended it.

A fault in a kernel leaves a process without its graphics card: every part after it would fail. Then
the part is noted, and those after it are done in another process.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from notes import Notes

GRACE_S = 60.0
"""How long a part that was begun in time may go on after it."""


def supervised(
    command: Callable[[Sequence[str], float], list[str]],
    names: Sequence[str],
    path: Path,
    minutes: float,
    grace_s: float = GRACE_S,
) -> dict[str, Any]:
    """Have parts done, in their order; return what is noted in `path`.

    `command` gives the program that does parts of these names in so many minutes, and notes in
    `path` what each finds. The part in which it ends is lost, and is said to be.
    """
    until = time.monotonic() + 60 * minutes
    path.unlink(missing_ok=True)
    left = list(names)
    while left:
        rest = max(0.0, until - time.monotonic())
        why = _done(command(left, rest / 60), rest + grace_s)
        found = _read(path)
        left = [name for name in left if name not in found]
        if left and why:
            notes = Notes(path, float("inf"), **found)
            notes.note(left.pop(0), f"lost: {why}")
        elif left:
            raise RuntimeError(f"nothing was noted of {left[0]!r}")
    return _read(path)


def _done(program: Sequence[str], seconds: float) -> str:
    """Run a program; return why it did not end well, if it did not."""
    try:
        code = subprocess.run(program, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        return "it took too long, and its process was ended"
    return f"its process ended with code {code}" if code else ""


def _read(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {}
