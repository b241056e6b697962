"""What the parts of a long measurement found, kept as it comes: none is lost with a later one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_damm.util.files import written_whole


class Notes:
    """What was found, printed and written after each part; `until` is when no more is begun."""

    def __init__(self, path: Path | None, until: float, **first: Any) -> None:
        self.found: dict[str, Any] = dict(first)
        self._path, self._until = path, until

    def take(self, name: str, work: Callable[[], Any]) -> bool:
        """Do a part, and tell whether it failed; that, or lack of time, does not stop others."""
        began, failed = time.perf_counter(), False
        if began > self._until:
            found: Any = "left out: the time is up"
        else:
            try:
                found = work()
            except Exception as error:  # what is measured on an unknown card may fail in any way
                found, failed = f"failed: {type(error).__name__}: {error}", True
        self.note(name, found, time.perf_counter() - began)
        return failed

    def note(self, name: str, found: Any, seconds: float = 0.0) -> None:
        """Keep what a part found."""
        self.found[name] = found
        print(f"{name} ({seconds:.0f} s)")
        print(json.dumps(self.found[name], indent=1, default=str), flush=True)
        if self._path is not None:
            with written_whole(self._path) as stream:
                stream.write(json.dumps(self.found, indent=1, default=str).encode())
