"""Models and their predictions; every prediction is computed once and kept.

1. A model is known by the digest of its weights and architecture: an entry on its card may change.
2. `Lab.predict` runs the engine as anyone would, and keeps the maps in `work/predictions`.
3. `Lab.baselines` are the other contestants; those that need no file are fitted on the spot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import baselines
import numpy as np
from numpy.typing import NDArray

from napari_damm import api
from napari_damm.events import Finished
from napari_damm.util.tiling import STRIDE, WINDOW

from .rows import read_row, write_row
from .sections import Section
from .settings import Settings

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

Floats = NDArray[np.float32]

MODEL = "the model"
GAMMA = {"gated": 0.5, "uni": 1.0, "multi": 0.0}
"""The gate's threshold: no confidence reaches 1, every one reaches 0."""


@dataclass(frozen=True)
class Job:
    """What is to be predicted, and how."""

    branch: str = "gated"
    samples: int = 1
    mode: str = "fast"
    steps: int | None = None
    model: str = MODEL
    read_out: str | None = None

    @property
    def name(self) -> str:
        """Name of its file."""
        parts = [self.branch, self.mode, f"k{self.samples}"]
        parts += [f"steps{self.steps}"] if self.steps is not None else []
        parts += [self.read_out] if self.read_out is not None else []
        return "-".join(parts)


@dataclass(frozen=True, eq=False)
class Predicted:
    """Maps of one prediction: `np` and `std` (y, x), `uncertainty` and `branch` on cells.

    `std` is as drawn, without the model's spread factor; None of a single sample.
    """

    np: Floats
    std: Floats | None
    uncertainty: Floats
    branch: NDArray[np.uint8]


def full_batch(size: int) -> int:
    """Return the largest batch, at most 4, that the windows of a section of `size` px fill."""
    side = 1 + max(0, -(-(size - WINDOW) // STRIDE))
    return max(batch for batch in (1, 2, 3, 4) if side**2 % batch == 0)


class Lab:
    """Loads models when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._models: dict[str, DAMM] = {}
        self._digests: dict[str, str] = {}

    def model(self, name: str = MODEL) -> DAMM:
        """Return a model: the one that is judged, or one of the ablations."""
        if name not in self._models:
            settings = self.settings
            files = {MODEL: settings.model, "base": settings.ablation_base, **settings.ablations}
            self._models[name] = api.load_model(files[name], settings.device)
        return self._models[name]

    def digest(self, name: str = MODEL) -> str:
        """Return what a model is known by."""
        if name not in self._digests:
            from napari_damm.model_file import content_hash

            model = self.model(name)
            content = content_hash(model) + json.dumps(model.config.to_dict(), sort_keys=True)
            self._digests[name] = hashlib.sha256(content.encode()).hexdigest()[:12]
        return self._digests[name]

    @property
    def spread_factor(self) -> float:
        """What the model's card multiplies the spread of samples with."""
        return float(self.model().card.get("spread_factor") or 1.0)

    def predict(self, section: Section, job: Job) -> Predicted:
        """Return the maps, from the folder where they are there."""
        if job.steps is None and job.mode == "fast":
            job = replace(job, steps=self.settings.fast_steps)
        folder = self.settings.work / "predictions" / self.digest(job.model)
        path = folder / section.specimen.name / f"{job.name}-seed{self.settings.seed}.npz"
        if path.is_file():
            kept = read_row(path)
            return Predicted(kept["np"], kept.get("std"), kept["uncertainty"], kept["branch"])
        found = self._compute(section, job)
        write_row(path, {name: value for name, value in vars(found).items() if value is not None})
        return found

    def _compute(self, section: Section, job: Job) -> Predicted:
        model = self.model(job.model)
        wishes: dict[str, Any] = {"samples": job.samples} if job.samples > 1 else {}
        config = api.PredictConfig(
            mode=job.mode,
            steps=job.steps,
            gamma=GAMMA[job.branch],
            seed=self.settings.seed,
            device=self.settings.device,
            lanes=1,
            batch_size=full_batch(section.specimen.size),
            **wishes,
        )
        before = model.config
        if job.read_out is not None:
            model.config = replace(before, read_out=job.read_out)
        try:
            *_, finished = api.predict(section.slide, model, config)
        finally:
            model.config = before
        assert isinstance(finished, Finished)
        result = finished.result
        if result.np.shape != section.tissue.shape:
            raise ValueError(
                f"the evidence needs a model of {section.pixel_um:g} um/px, got a prediction of "
                f"shape {result.np.shape} for a section of {section.tissue.shape}"
            )
        std = None
        if job.samples > 1:
            factor = float(model.card.get("spread_factor") or 1.0)
            std = np.asarray(result.np_std, np.float32) / np.float32(factor)
        image, uncertainty = (np.asarray(a, np.float32) for a in (result.np, result.uncertainty))
        return Predicted(image, std, uncertainty, np.asarray(result.branch, np.uint8))

    @property
    def files(self) -> dict[str, Path]:
        """Files of the trained baselines, those that were given."""
        given = {"unet": self.settings.unet, "gan": self.settings.gan}
        return {name: path for name, path in given.items() if path is not None}

    @cached_property
    def networks(self) -> dict[str, Callable[[Floats, Floats], Floats]]:
        """The trained baselines."""
        return {name: baselines.load(path) for name, path in self.files.items()}

    def baselines(self, section: Section) -> dict[str, Floats]:
        """Return what the simpler ways predict of a section."""
        target = section.truths["taken"]
        trained = {
            name: predict(section.vessels, section.nuclei)
            for name, predict in self.networks.items()
        }
        fitted = {
            "linear": baselines.linear_fit_predict(section.vessels, section.nuclei, target),
            "blur": baselines.blur_fit_predict(section.vessels, target),
        }
        return trained | fitted


def file_digest(path: Path) -> str:
    """Return what a file is known by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
