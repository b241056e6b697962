"""Telling apart the faults that a job can meet: a full disk, no memory, anything else.

Libraries have many ways to say either; here they are named once, for the engine, the command line
and the widgets.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_damm.util.advice import Advice, advice_of
from napari_damm.util.text import printable

# Windows knows no quota error.
_DISK_FULL_NUMBERS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# What torch's allocators for the CPU and for mps say in a plain RuntimeError.
_ALLOCATORS = (
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "mps backend out of memory",
)


class JobFault(RuntimeError):
    """A job cannot go on, and the message says all that a person needs."""


class DiskFull(OSError):
    """The disk, a quota or a file-size limit is exhausted; what is stored already stays valid."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the number when a worker process sends the error: OSError itself would lose it."""
        return _disk_full, (self.args[0], self.errno)


def _disk_full(message: str, number: int | None) -> DiskFull:
    full = DiskFull(message)
    full.errno = number
    return full


@contextmanager
def disk_full_named(what: str, path: Path | None, remedy: str) -> Iterator[None]:
    """Turn every way in which a disk can be full into one sentence."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        problem = f"disk is full, {what} could not be written to {path}"
        raise _disk_full(Advice(problem, remedy), error.errno) from error


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that nothing more can be written."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL_NUMBERS


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means lack of memory (torch has its own classes and words for it)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _ALLOCATORS)


def one_line(error: BaseException) -> str:
    """Put an error into one line, without Python's or the system's numbers; advice stays advice."""
    advice = advice_of(error)
    if advice is not None:
        return advice
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return printable(f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and len(error.args) == 2 and error.strerror:
        return printable(error.strerror)
    return printable(" ".join(str(error).split())) or type(error).__name__
