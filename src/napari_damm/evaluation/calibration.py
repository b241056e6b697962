"""Giving a model 90 % intervals from sections that it did not learn from.

A fine-tuned model with few validation windows knows of no interval that holds, and the bundled one
only of simulated tissue. Sections that were kept aside tell how far its maps are off:

1. Each is predicted as Predict does it (mode expected), and compared in tissue (`predicting`).
2. Sections are the units where there are enough, else windows of them: `trust.intervals` fits.
3. What was found goes on the model's card. Its weights stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.dataset import Field, Source
from napari_damm.engine.config import EXPECTED, PredictConfig
from napari_damm.evaluation.learnt import Learnt
from napari_damm.evaluation.opening import open_all, survey_all
from napari_damm.evaluation.predicting import on_ground, predict_section
from napari_damm.evaluation.scores import Floats, Ground, ground_of
from napari_damm.events import Event, FailedItem, Finished, Preparing
from napari_damm.model_file import (
    bundled_folder,
    check_new_name,
    first_few,
    load_model,
    save_model,
    user_folder,
)
from napari_damm.model_file.weights import SUFFIX
from napari_damm.trust.intervals import FEWEST, KEY, Intervals
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.tiling import WINDOW, Box

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

LEAST_SHARE = 0.25
"""Share of a window that must count."""
Pair = tuple[Floats, Floats]
"""Pixels that count, as predicted and as they are."""


@dataclass(frozen=True)
class Calibrated:
    """A model file, the intervals that it was given, and their mean width on these sections."""

    path: Path
    intervals: Intervals
    width: float


def calibrate(
    data: Source | Sequence[Source],
    model: DAMM | str | Path | None = None,
    name: str | None = None,
    device: str = "auto",
) -> Iterator[Event]:
    """Fit a model's 90 % intervals to sections with a target image, and put them on its card.

    Parameters
    ----------
    data
        Where the sections come from; the model must not have learnt from them.
    model
        A loaded model, a name or a path. Its own file is changed, unless `name` is given.
    name
        Save it as a new model of this name, and leave the other as it is: the bundled model's file
        is never changed.
    device
        As in `PredictConfig`.

    Yields
    ------
    `Preparing` while it works, `FailedItem` for a section that cannot be used where others can,
    `Finished(Calibrated)` last. Closing the generator cancels, and nothing is changed.

    Raises
    ------
    ValueError, OSError
        For bad input; if the sections are too few or too small; if the file cannot be written.
    """
    started = time.monotonic()
    sources = list(data) if isinstance(data, Sequence) else [data]
    if not sources:
        raise ValueError("there is nothing to calibrate on: give one source of sections or more")
    loaded = load_model(model, device)
    if loaded.config.unet.predicts == "noise":
        raise ValueError(
            "this model predicts noise and has no expected map to calibrate: predict several "
            "samples for the range of its answers"
        )
    target = _target(loaded, name)
    work = _Calibration(loaded, PredictConfig(mode=EXPECTED, device=device))
    yield from work.over(sources)
    intervals = work.intervals()
    yield Preparing("saving", 0, 1)
    target.parent.mkdir(parents=True, exist_ok=True)
    named = {} if name is None else {"name": name}
    save_model(loaded, target, {**named, KEY: intervals.to_json()})
    found = Calibrated(target, intervals, work.width(intervals))
    yield Finished(found, time.monotonic() - started, tuple(work.failed))


def _target(model: DAMM, name: str | None) -> Path:
    """Return the file to write."""
    if name is not None:
        return user_folder() / f"{check_new_name(name)}{SUFFIX}"
    if model.file is None:
        raise ValueError("the model came from no file: give the name to save it under")
    path = Path(model.file)
    if path.parent == bundled_folder():
        raise ValueError(
            f"model '{path.stem}' is bundled with napari-damm and is not changed: give the name of "
            "a new model for what is found"
        )
    return path


@dataclass
class _Calibration:
    """What has been compared so far, section by section, each in windows."""

    model: DAMM
    config: PredictConfig
    windows: dict[str, list[Pair]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)

    def over(self, sources: Sequence[Source]) -> Iterator[Event]:
        """Compare all sections; one that fails is reported and left out."""
        groups, total = open_all(sources)
        learnt = Learnt.of_card("the model", self.model.card)
        um, number = self.model.card.get("pixel_size_um"), 0
        for sections in groups:
            yield Preparing("measuring sections", number, total)
            for name, surveyed in survey_all(sections, float(um) if um else None):
                number += 1
                try:
                    if isinstance(surveyed, Exception):
                        raise surveyed
                    if learnt.knows(surveyed.section):
                        raise ValueError(
                            "the model learnt from it, so that it says too little of its errors: "
                            "give sections that were kept aside"
                        )
                    yield from self._compare(surveyed, f"section {number} of {total}")
                except (ValueError, OSError) as error:
                    if is_disk_full(error) or total == 1:
                        raise
                    self.failed.append(f"{name}: {one_line(error)}")
                    yield FailedItem(name, one_line(error))

    def _compare(self, surveyed: Field, what: str) -> Iterator[Event]:
        ground = ground_of(surveyed)
        config = on_ground(self.config, surveyed, ground)
        result = yield from predict_section(surveyed, self.model, config, what, self.warned)
        pairs = list(window_pairs(ground, np.asarray(result.np, np.float32)))
        self.windows[surveyed.section.name] = pairs

    def intervals(self) -> Intervals:
        """Fit them to what was compared.

        Raises
        ------
        ValueError
            If that is too little.
        """
        names = [name for name, pairs in self.windows.items() if pairs]
        every = [pair for name in names for pair in self.windows[name]]
        truth, of = "image as taken", first_few(names)
        if len(names) >= FEWEST:
            pairs = [_together(self.windows[name]) for name in names]
            return Intervals.fit(pairs, "sections", truth, f"{len(names)} sections ({of})")
        if len(every) < FEWEST:
            raise ValueError(
                f"{len(every)} windows of {WINDOW} px hold tissue to calibrate on, {FEWEST} are "
                f"needed: give more or larger sections{self._because()}"
            )
        said = f"{len(every)} windows of {WINDOW} px of {len(names)} sections ({of})"
        return Intervals.fit(every, "windows", truth, said)

    def width(self, intervals: Intervals) -> float:
        """Return how wide intervals are on average over all pixels that count."""
        predicted = np.concatenate([p for pairs in self.windows.values() for p, _ in pairs])
        return float(2 * intervals.half_width(predicted).mean())

    def _because(self) -> str:
        return f" ({len(self.failed)} could not be used: {self.failed[0]})" if self.failed else ""


def window_pairs(ground: Ground, predicted: Floats) -> Iterator[Pair]:
    """Yield the pixels that count of windows beside each other: as predicted, as they are."""
    height, width = ground.truth.shape
    for y in range(0, height, WINDOW):
        for x in range(0, width, WINDOW):
            at = Box(y, x, min(y + WINDOW, height), min(x + WINDOW, width)).slices
            inside = ground.inside[at]
            if inside.sum() >= LEAST_SHARE * WINDOW**2:
                yield predicted[at][inside], ground.truth[at][inside]


def _together(pairs: Sequence[Pair]) -> Pair:
    predicted, truth = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return predicted, truth
