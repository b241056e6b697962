"""The folder of a training: what it holds, and how far it has come. Reads no tensors.

```
RUN/
  run.json               settings, data, progress, scores: everything below in plain words
  last.ckpt              the state to resume from (safetensors)
  first_stages/          the same of the autoencoders, where they are trained
  curves.csv             a line per logged step and per validation
  latents/               cached; may be deleted, and is made again
  NAME.safetensors       the best model so far, once there is one
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from napari_damm.train.config import TrainConfig

STATE_FILE = "run.json"
LAST = "last.ckpt"
CURVES = "curves.csv"
LATENTS = "latents"


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come.

    `model` is the file of the model that it made, None while there is none; it is there when the
    training has finished, or was stopped after its first validation. `base` is the name of the
    model that it started from, None from scratch. `resumable`: there is more to do. `data` lists
    the sections, in words.
    """

    folder: Path
    name: str
    config: TrainConfig
    base: str | None
    data: tuple[str, ...]
    step: int
    progress: float
    finished: bool
    resumable: bool
    model: Path | None
    scores: Mapping[str, float]
    base_scores: Mapping[str, float]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedModel:
    """What a training ends with: the model's file, its card, and how it and its base scored."""

    path: Path
    name: str
    card: Mapping[str, Any]
    scores: Mapping[str, float]
    base_scores: Mapping[str, float]
    folder: Path


def trainings_folder() -> Path:
    """Where trainings are kept that were given no folder."""
    return user_data_path("napari-damm", False) / "trainings"


def default_folder(name: str) -> Path:
    """Return the folder of the training of a model of this name."""
    return trainings_folder() / name


def read_training(folder: str | Path) -> TrainingState | None:
    """Say how far the training in a folder has come; None if there is none.

    Raises
    ------
    ValueError
        If its `run.json` is damaged.
    """
    folder = Path(folder)
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        config = TrainConfig.from_dict(record["config"])
        model = folder / record["model"] if record.get("model") else None
        return TrainingState(
            folder=folder,
            name=config.name,
            config=config,
            base=record["base"],
            data=tuple(str(section["name"]) for section in record["data"]),
            step=int(record["step"]),
            progress=float(record["progress"]),
            finished=bool(record["finished"]),
            resumable=not record["finished"],
            model=model if model is not None and model.is_file() else None,
            scores=_numbers(record.get("scores", {})),
            base_scores=_numbers(record.get("base_scores", {})),
            record=record,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove the folder {folder}") from None


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores that are numbers (those that are none are null)."""
    return {name: float(value) for name, value in scores.items() if value is not None}
