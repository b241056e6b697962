"""Trying the model on windows that no training patch touches.

1. Some validation patches, spread evenly, are read as they are.
2. The averaged weights go into a copy of the model, which predicts them as Predict does: gated, one
   sample each, from noise that depends on position and nothing else. So two models differ by
   themselves only.
3. Scores are over all windows; a few of them are shown.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Patch, Split
from napari_damm.dataset.sources import ROLES
from napari_damm.engine.config import POOL_BATCHES, PredictConfig, default_batch
from napari_damm.engine.recovery import Ladder
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.events import GAIN, Notice, Preparing, ValidationTile
from napari_damm.model.damm import DAMM
from napari_damm.train.config import TrainConfig
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.util import metrics
from napari_damm.util.errors import is_out_of_memory

WHAT = "trying the model on validation windows"
FEWEST_PAIRS = 4
"""Windows from which it can be told whether a gain is chance."""
Floats = NDArray[np.float32]
Item = TypeVar("Item")


class Validator:
    """Predicts the validation windows with a copy of the model, and scores it."""

    def __init__(
        self,
        model: DAMM,
        fields: Sequence[Field],
        split: Split,
        config: TrainConfig,
        unreadable: UnreadablePatches | None = None,
    ) -> None:
        """Read the validation windows, and copy the model.

        Raises
        ------
        OSError
            If none of them can be read.
        """
        device = next(model.parameters()).device.type
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        size = default_batch(device, sum(p.numel() for p in model.unet.parameters()))
        count = min(config.validation_windows, len(split.validation))
        mode, steps = PredictConfig().sampler_for(model.config.unet.predicts)
        start = model.config.expected_from
        sampling = Sampling(
            mode, steps, config.seed, config.gamma, min(size, count), expected_from=start
        )
        self.ladder = Ladder(WindowSampler(self.model, sampling, device))
        self.fields = fields
        unreadable = unreadable or UnreadablePatches(fields)
        self.patches: list[Patch] = []
        self.images: list[Floats] = []
        for patch in evenly(split.validation, count):
            images = unreadable.read(patch, partial(read_patch, fields, patch))
            if images is not None:
                self.images.append(images)
                self.patches.append(patch)
        if not self.patches:
            raise OSError(f"no validation window can be read: {unreadable.last}")
        self.shown = min(config.validation_tiles, len(self.patches))
        self._before: list[Floats] | None = None

    def load(self, model: DAMM, averaged: Mapping[str, Tensor]) -> None:
        """Make the copy a model with some weights, by their names in it, averaged."""
        self.model.load_state_dict({**model.state_dict(), **averaged})

    def compare_with(self, predicted: list[Floats]) -> None:
        """Show these predictions, the base model's, beside those that come."""
        self._before = predicted

    @property
    def sampler(self) -> WindowSampler:
        """What predicts: in smaller batches once memory has run out."""
        return self.ladder.current

    def predict(
        self, expected_from: str | None = None
    ) -> Generator[Preparing | Notice, None, list[Floats]]:
        """Predict all windows: relative intensities (256, 256) each, unclipped.

        `expected_from`: what the expected map is made from, if not as the model learns it.
        """
        inputs = [
            WindowInput((0, k), (patch.box.y0, patch.box.x0), images[0], images[1])
            for k, (patch, images) in enumerate(zip(self.patches, self.images, strict=True))
        ]
        found: list[Floats] = []
        while len(found) < len(inputs):
            sampler = self.sampler
            size = POOL_BATCHES * sampler.sampling.batch_size
            shown = sampler.starting_from(expected_from) if expected_from else sampler
            try:
                for step in shown.run(inputs[len(found) : len(found) + size]):
                    if isinstance(step, list):
                        found += [output.np for output in step]
                    else:
                        yield Preparing(WHAT, len(found), len(inputs))
            except Exception as error:
                # another device would need another copy of the model: that is not for validation
                if not is_out_of_memory(error) or sampler.sampling.batch_size == 1:
                    raise
                message = self.ladder.step_down(sampler)
                if message:
                    yield Notice(message, "warning")
        return found

    @property
    def truths(self) -> list[Floats]:
        """The targets (256, 256) of all windows, relative intensities."""
        return [(images[2] + 1) / 2 for images in self.images]

    def scores(self, predicted: Sequence[Floats]) -> dict[str, float]:
        """Score predictions of all windows against the truth, and how sure the gain is."""
        scores = score_windows(self.truths, predicted)
        if self._before is not None and math.isfinite(scores["ssim"]):
            scores |= gain_over(self.truths, self._before, predicted)
        return scores

    @property
    def corners_um(self) -> tuple[tuple[float, float], ...]:
        """Upper left corners (y, x) of all windows, in the worlds of their sections."""
        return tuple(self._corner_um(patch) for patch in self.patches)

    def _corner_um(self, patch: Patch) -> tuple[float, float]:
        field = self.fields[patch.field]
        y, x = field.section.slide.origin
        return y + patch.box.y0 * field.model_um, x + patch.box.x0 * field.model_um

    def tiles(self, predicted: Sequence[Floats]) -> tuple[ValidationTile, ...]:
        """Return the windows that are shown, with what the model makes of them now."""
        chosen = evenly(range(len(self.patches)), self.shown)
        return tuple(self._tile(k, predicted[k]) for k in chosen)

    def _tile(self, k: int, now: Floats) -> ValidationTile:
        patch, field = self.patches[k], self.fields[self.patches[k].field]
        primary, secondary, truth = ((image + 1) / 2 for image in self.images[k])
        return ValidationTile(
            section=field.section.name,
            y=patch.box.y0,
            x=patch.box.x0,
            pixel_size_um=field.model_um,
            corner_um=self._corner_um(patch),
            primary=primary,
            secondary=secondary,
            truth=truth,
            before=None if self._before is None else np.clip(self._before[k], 0, 1),
            now=np.clip(now, 0, 1),
        )


def score_windows(truths: Sequence[Floats], predicted: Sequence[Floats]) -> dict[str, float]:
    """Score predictions against the truth; all -inf where they are not finite."""
    if not all(np.isfinite(image).all() for image in predicted):
        return dict.fromkeys(("ssim", "psnr", "mse", "r", "r2", "std_ratio"), float("-inf"))
    pairs = list(zip(truths, predicted, strict=True))
    truth, prediction = np.concatenate(truths), np.concatenate(predicted)
    varies, spread = bool(truth.min() < truth.max()), float(truth.std())
    return {
        "ssim": float(np.mean([metrics.ssim(a, b) for a, b in pairs])),
        "psnr": metrics.psnr(truth, prediction),
        "mse": metrics.mse(truth, prediction),
        "r": metrics.pearson_r(truth, prediction) if varies else float("nan"),
        "r2": metrics.r2(truth, prediction) if varies else float("nan"),
        "std_ratio": float(prediction.std()) / spread if varies else float("nan"),
    }


def gain_over(
    truths: Sequence[Floats], before: Sequence[Floats], now: Sequence[Floats]
) -> dict[str, float]:
    """Return the 95 % interval of the mean gain in SSIM, window by window; {} of too few.

    Where it reaches below 0, the gain may be chance.
    """
    if len(truths) < FEWEST_PAIRS:
        return {}
    gains = [
        metrics.ssim(truth, b) - metrics.ssim(truth, a)
        for truth, a, b in zip(truths, before, now, strict=True)
    ]
    low, high = metrics.bootstrap_interval(gains) or (math.nan, math.nan)
    return dict(zip(GAIN, (low, high), strict=True))


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of the items, spread evenly."""
    places = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[k] for k in places.tolist()]


def read_patch(fields: Sequence[Field], patch: Patch) -> Floats:
    """Read the images (3, 256, 256) of a patch as they are, in [-1, 1]."""
    field = fields[patch.field]
    return np.stack([field.read(role, patch.box) for role in ROLES])
