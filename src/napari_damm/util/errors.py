"""Telling apart the faults that a job can meet: a full disk, no memory, anything else.

Libraries have many ways to say either; here they are named once, for the engine, the command line
and the widgets.
"""

from __future__ import annotations

import errno

# Windows knows no quota error.
DISK_FULL_NUMBERS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# What torch's allocator for the CPU says in a plain RuntimeError.
_CPU_ALLOCATOR = ("can't allocate memory", "not enough memory", "alloc_failed")


class JobFault(RuntimeError):
    """A job cannot go on, and the message says all that a person needs."""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that nothing more can be written."""
    return isinstance(error, OSError) and error.errno in DISK_FULL_NUMBERS


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means lack of memory (torch has its own classes and words for it)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _CPU_ALLOCATOR)


def one_line(error: BaseException) -> str:
    """Put an error into one line, without Python's or the system's numbers."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
