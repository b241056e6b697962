"""Modules by the names of the last release: imported from where they are now, with a warning.

`import napari_damm` hangs the finder at the end of Python's, so it is asked for missing names only.
One release later this module goes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "authors": "model_file.import_authors",
    "checkpoint_reader": "model_file.pickle_reader",
    "cluster": "engine.workers.dask",
    "config": "engine.config",
    "evaluate_config": "evaluation.config",
    "faults": "util.errors",
    "metrics": "util.metrics",
    "noise": "engine.noise",
    "planning": "engine.planning",
    "processes": "engine.workers.processes",
    "tiling": "util.tiling",
    "train_config": "train.config",
    "train_settings": "train.settings_file",
    "training_folder": "train.run_folder",
}
_PACKAGE = "napari_damm."


class _Finder(MetaPathFinder):
    """Finds modules that moved."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module by its old name."""
        now = MOVED.get(name.removeprefix(_PACKAGE)) if name.startswith(_PACKAGE) else None
        return None if now is None else ModuleSpec(name, _Alias(_PACKAGE + now))


class _Alias(Loader):
    """Loads a module by giving the one that it is now."""

    def __init__(self, now: str) -> None:
        self._now = now
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module that there is, and warn."""
        warnings.warn(
            f"{spec.name} is {self._now} now; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        module = import_module(self._now)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it was: the import system has just called it by its old name."""
        module.__spec__ = self._spec


def find_moved_modules() -> None:
    """Let modules be imported by the names of the last release."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
