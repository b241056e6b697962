"""The model file that intervals are put into: the model's own, or a new one.

What can be refused is refused before the work. Before it is written the file is looked at again:
sections take a while, and others may write models meanwhile.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.model_file import (
    bundled_folder,
    check_new_name,
    save_model,
    sha256,
    user_folder,
)
from napari_damm.model_file.weights import SUFFIX
from napari_damm.trust.intervals import KEY, Intervals
from napari_damm.util.files import check_writable

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

OF_SAMPLES = {"spread_factor": 1.0}
"""What widened the spread of samples was measured on other tissue: 1 is not calibrated."""


@dataclass(frozen=True)
class CalibratedFile:
    """Where a model goes; `name` is that of a new one, else the file is the model's own."""

    path: Path
    name: str | None

    @classmethod
    def of(cls, model: DAMM, name: str | None) -> CalibratedFile:
        """Return the file to write, if it can be.

        Raises
        ------
        ValueError, OSError
            If not.
        """
        if name is not None:
            folder = user_folder()
            if folder.exists() and not folder.is_dir():
                raise NotADirectoryError(f"{folder} is no folder: models cannot be kept there")
            check_writable(folder)
            return cls(folder / f"{check_new_name(name)}{SUFFIX}", name)
        if model.file is None:
            raise ValueError("the model came from no file: give the name to save it under")
        path = Path(model.file).resolve()  # of a link the file that it leads to
        if path.parent == bundled_folder().resolve():
            raise ValueError(
                f"model '{path.stem}' is bundled with napari-damm and is not changed: give the "
                "name of a new model for what is found"
            )
        if path.suffix != SUFFIX:
            raise ValueError(f"{path} does not end in {SUFFIX}: give the name of a new model")
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            raise PermissionError(f"{path} may not be written: give the name of a new model")
        return cls(path, None)

    def save(self, model: DAMM, intervals: Intervals) -> Path:
        """Write the model with these intervals on its card.

        Raises
        ------
        ValueError, OSError
            If the file was changed meanwhile, or cannot be written. It is as it was then.
        """
        entries = {**OF_SAMPLES, KEY: intervals.to_json()}
        if self.name is not None:
            check_new_name(self.name)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return save_model(model, self.path, {"name": self.name, **entries})
        if sha256(self.path) != model.card.get("sha256"):
            raise ValueError(
                f"{self.path} was changed meanwhile, and is left as it is: calibrate again"
            )
        return save_model(model, self.path, entries)
