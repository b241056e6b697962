"""One writer per store: a lock that dies with its process.

1. The lock is the operating system's own, on `writer.lock`: a killed process cannot leave it held,
   and a lock file that lies around means nothing.
2. `writer.json` beside it names the holder, for the message that a second writer gets. It is
   believed only while the lock is held, so a stale one does no harm either.
3. Whether the empty lock file stays after release is for the library to decide: removing it is
   free of races on some systems alone.
"""

from __future__ import annotations

import json
import os
import platform
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from napari_damm.util.advice import Advice
from napari_damm.util.bounded_json import read_json
from napari_damm.util.files import replace_file

LOCK = "writer.lock"
HOLDER = "writer.json"


class StoreLocked(OSError):
    """Another run is writing the store."""


class WriterLock:
    """The right to write one store, held from construction to `release`."""

    def __init__(self, root: Path) -> None:
        """Take the lock of the store at `root`.

        Raises
        ------
        StoreLocked
            If somebody else holds it, in this process or another.
        """
        self._holder = root / HOLDER
        # The library opens and empties whatever has that name.
        if os.path.lexists(root / LOCK) and not stat.S_ISREG((root / LOCK).lstat().st_mode):
            raise StoreLocked(f"{root / LOCK} is a link, or no file: remove it")
        # Not per thread: the run may be closed by another thread than the one that began it.
        self._lock = FileLock(root / LOCK, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise StoreLocked(
                Advice(
                    f"{root} is being written by another run{_named(self._holder)}",
                    "wait for it, or choose another {store}",
                )
            ) from None
        try:
            here = {"process": os.getpid(), "host": platform.node()}
            replace_file(self._holder, json.dumps(here).encode())
        except BaseException:
            self.release()
            raise

    @property
    def held(self) -> bool:
        """Whether the lock has not been released."""
        return self._lock.is_locked

    def release(self) -> None:
        """Give the lock up; does nothing the second time."""
        if self.held:
            # While the lock is held nobody else's name can stand there.
            self._holder.unlink(missing_ok=True)
            self._lock.release()


def _named(holder: Path) -> str:
    try:
        about = read_json(holder, 2**16)
        return f" (process {int(about['process'])} on {str(about['host'])[:80]})"
    except (OSError, ValueError, KeyError, TypeError):
        # It took the lock this very moment and has not written its name yet.
        return ""
