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

    def take(self, name: str, work: Callable[[], Any]) -> None:
        """Do a part; one that fails, or has no time left, does not stop the others."""
        began = time.perf_counter()
        if began > self._until:
            self.found[name] = "left out: the time is up"
        else:
            try:
                self.found[name] = work()
            except Exception as error:  # what is measured on an unknown card may fail in any way
                self.found[name] = f"failed: {type(error).__name__}: {error}"
        print(f"{name} ({time.perf_counter() - began:.0f} s)")
        print(json.dumps(self.found[name], indent=1, default=str), flush=True)
        if self._path is not None:
            with written_whole(self._path) as stream:
                stream.write(json.dumps(self.found, indent=1, default=str).encode())
