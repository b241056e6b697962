r"""What a command writes to stdout and stderr.

1. A terminal obeys control sequences; a file's name or a model's card may hold some. They are
   written as escapes, but for line ends, tabs and the "\r" of the progress bar.
2. No job fails because nobody listens: a stream that is closed, or whose reader has gone, takes
   everything and keeps nothing. Letters that its encoding lacks become escapes.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from napari_damm.util.text import printable

_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)


class _Stream:
    """A text stream that can be written to whatever happened to it."""

    def __init__(self, stream: TextIO | None, allowed: str) -> None:
        self._stream = stream
        self._allowed = allowed

    def write(self, text: str) -> int:
        """Write text."""
        if self._stream is not None:
            shown = printable(text, self._allowed)
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
            with self._as_long_as_somebody_listens():
                self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        if self._stream is not None:
            with self._as_long_as_somebody_listens():
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        """Be like the stream in all else."""
        return getattr(self._stream, name)

    @contextmanager
    def _as_long_as_somebody_listens(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # it was closed
            self._stream = None
        except OSError as error:
            if error.errno not in _GONE:
                raise
            _drop(self._stream)
            self._stream = None


def echo(text: object) -> None:
    """Write a line to stdout.

    typer's own `echo` would go round a stream whose encoding it mistrusts.
    """
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def safe_streams() -> Iterator[None]:
    """Write to stdout and stderr in this way within the block."""
    before = sys.stdout, sys.stderr
    sys.stdout = _Stream(before[0], "\n\t")
    sys.stderr = _Stream(before[1], "\n\t\r")
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _drop(stream: TextIO | None) -> None:
    """Let Python, too, flush what is left in a stream to nowhere when it ends."""
    try:
        number = stream.fileno() if stream is not None else -1
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # it is no file
