"""Predicting a measured section where it is compared with its target image, and nowhere else."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_damm import engine
from napari_damm.dataset import Field
from napari_damm.engine.config import PredictConfig
from napari_damm.evaluation.scores import Ground
from napari_damm.events import Event, Finished, Notice, Preparing, Step
from napari_damm.store import Result
from napari_damm.trust.verdict import VERDICTS
from napari_damm.util.text import count

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM


DOUBTFUL = VERDICTS[1:]
"""What a verdict begins with: that is of one section, other warnings are of all."""
LARGE_PX = 8192
BYTES_PER_PIXEL = 80


def told_if_large(ground: Ground, name: str) -> Iterator[Notice]:
    """Say how much memory it takes to compare a large section."""
    height, width = ground.box.shape
    if max(height, width) > LARGE_PX:
        memory = height * width * BYTES_PER_PIXEL / 2**30
        yield Notice(
            f"{name} is {height} x {width} px: comparing it takes about {memory:.0f} GB of "
            "memory; a region (roi) takes less"
        )


def on_ground(config: PredictConfig, surveyed: Field, ground: Ground) -> PredictConfig:
    """Return how a section is predicted: only the box that counts, with its own intensities."""
    scale = ground.pixel_um / surveyed.section.slide.pixel_size_um
    box = ground.box
    roi = box.y0 * scale, box.x0 * scale, box.y1 * scale, box.x1 * scale
    return replace(config, roi=roi, normalisation=surveyed.normalisation)


def predict_section(
    surveyed: Field, model: DAMM, config: PredictConfig, what: str, warned: set[str]
) -> Generator[Event, None, Result]:
    """Predict a section, telling how far it is; each warning is told once, and kept in `warned`.

    Raises
    ------
    OSError
        If a window fails: averages over what is left would look better than they are.
    """
    finished: Finished | None = None
    with closing(_generator(engine.predict(surveyed.section.slide, model, config))) as events:
        for event in events:
            match event:
                case Step(done, total):
                    yield Preparing(what, done, total)
                case Notice(message, "warning") if message not in warned:
                    warned.add(message)
                    of = f"{surveyed.section.name}: " if message.startswith(DOUBTFUL) else ""
                    yield Notice(f"{of}{message}", "warning")
                case Finished():
                    finished = event
    if finished is None or finished.failed:
        reasons = finished.failed if finished else ("it ended without a result",)
        raise OSError(f"{count(len(reasons), 'window')} could not be predicted: {reasons[0]}")
    result: Result = finished.result
    return result


def _generator(events: Iterator[Event]) -> Generator[Event, None, None]:
    """Return events as a generator, which can be closed."""
    yield from events
