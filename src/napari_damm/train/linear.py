"""How a linear model of both images, fitted to the training windows, scores on validation ones."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

from napari_damm.events import Preparing
from napari_damm.train.parts import TrainingParts
from napari_damm.train.validation import evenly, read_patch, score_windows
from napari_damm.trust.trivial import LinearModel

WHAT = "fitting a linear model, to compare with"
MOST_WINDOWS = 24
"""On so many of them, spread evenly, its few weights are known well."""


def linear_scores(parts: TrainingParts) -> Generator[Preparing, None, dict[str, float]]:
    """Fit it, and score it as the model will be; {} where none of the windows can be read."""
    model, fields, validator = LinearModel(), parts.data.fields, parts.validator
    windows = parts.data.split.train
    chosen = evenly(windows, min(MOST_WINDOWS, len(windows)))
    fitted = 0
    for done, patch in enumerate(chosen):
        yield Preparing(WHAT, done, len(chosen))
        images = parts.unreadable.read(patch, partial(read_patch, fields, patch))
        if images is not None:
            model.add(*((images + 1) / 2))
            fitted += 1
    if fitted == 0:
        return {}
    predicted = [model.predict(*((images[:2] + 1) / 2)) for images in validator.images]
    return score_windows(validator.truths, predicted)
