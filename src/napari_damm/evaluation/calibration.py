"""Giving a model 90 % intervals from sections that it did not learn from.

A fine-tuned model with few validation windows knows of no interval that holds, and the bundled one
only of simulated tissue. Sections that were kept aside tell how far its maps are off:

1. Each is predicted as Predict does it (mode expected), and compared in tissue (`predicting`).
   Those that the model learnt from, and a picture that was there already, are left out.
2. Sections are the units where there are enough, else windows of them: `trust.intervals` fits.
3. What was found goes on the model's card (`calibrated_file`). Its weights stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.dataset import Field, Section, Source
from napari_damm.engine.config import EXPECTED, PredictConfig
from napari_damm.evaluation.calibrated_file import CalibratedFile
from napari_damm.evaluation.learnt import Learnt
from napari_damm.evaluation.opening import as_sources, open_all, survey_all
from napari_damm.evaluation.predicting import on_ground, predict_section, told_if_large
from napari_damm.evaluation.registration import Placed
from napari_damm.evaluation.scores import Floats, Ground, ground_of
from napari_damm.events import Event, FailedItem, Finished, Notice, Preparing
from napari_damm.model_file import first_few, load_model
from napari_damm.trust.intervals import FEWEST, OF_FEW, PIXELS_EACH, Intervals
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.text import count
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
    sources = as_sources(data)
    loaded = load_model(model, device)
    if loaded.config.unet.predicts == "noise":
        raise ValueError(
            "this model predicts noise and has no expected map to calibrate: predict several "
            "samples for the range of its answers"
        )
    file = CalibratedFile.of(loaded, name)
    work = _Calibration(loaded, PredictConfig(mode=EXPECTED, device=device))
    yield from work.over(sources)
    intervals = work.intervals()
    yield Preparing("saving", 0, 1)
    found = Calibrated(file.save(loaded, intervals), intervals, work.width(intervals))
    yield Finished(found, time.monotonic() - started, tuple(work.failed))


@dataclass
class _Calibration:
    """What has been compared so far, section by section, each in windows."""

    model: DAMM
    config: PredictConfig
    windows: dict[str, list[Pair]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    warned: set[str] = field(default_factory=set)
    taken: list[Section] = field(default_factory=list)
    placed: Placed = field(default_factory=Placed)

    def over(self, sources: Sequence[Source]) -> Iterator[Event]:
        """Compare all sections; one that fails is reported and left out."""
        groups, total = open_all(sources)
        learnt = Learnt.of_card("the model", self.model.card)
        if learnt.unlisted:
            yield Notice(learnt.said_of_unlisted, "warning")
        um, number = self.model.card.get("pixel_size_um"), 0
        for sections in groups:
            yield Preparing("measuring sections", number, total)
            for name, surveyed in survey_all(sections, float(um) if um else None):
                number += 1
                try:
                    if isinstance(surveyed, Exception):
                        raise surveyed
                    self._check_new(surveyed.section, learnt)
                    yield from self._compare(surveyed, f"section {number} of {total}")
                except (ValueError, OSError) as error:
                    if is_disk_full(error) or total == 1:
                        raise
                    self.failed.append(f"{name}: {one_line(error)}")
                    self.unused.append(name)
                    yield FailedItem(name, one_line(error))

    def _check_new(self, section: Section, learnt: Learnt) -> None:
        """Refuse a section that says nothing new of the model's errors."""
        if learnt.knows(section):
            raise ValueError(
                "the model learnt from it, so that it says too little of its errors: give "
                "sections that were kept aside"
            )
        for other in self.taken:
            same_part = (other.roi, other.region) == (section.roi, section.region)
            entry = {"identity": other.identity, "pixels": other.pixels}
            if same_part and Learnt("", (entry,)).knows(section):
                raise ValueError(f"it is the same picture as {other.name}: it counts once")
        self.taken.append(section)

    def _compare(self, surveyed: Field, what: str) -> Iterator[Event]:
        name, ground = surveyed.section.name, ground_of(surveyed)
        yield from told_if_large(ground, name)
        filled = surveyed.said_of_fill("target")
        if filled:
            yield Notice(filled, "warning")
        for sentence in self.placed.said_of(surveyed, self.model.card):
            yield Notice(sentence, "warning")
        config = on_ground(self.config, surveyed, ground)
        result = yield from predict_section(surveyed, self.model, config, what, self.warned)
        pairs = list(window_pairs(ground, np.asarray(result.np, np.float32)))
        if not pairs:
            raise ValueError(
                f"no window of {WINDOW} px has tissue on a quarter of it: give a larger section"
            )
        self.windows[name] = pairs

    def intervals(self) -> Intervals:
        """Fit them to what was compared.

        Raises
        ------
        ValueError
            If that is too little.
        """
        every = [pair for pairs in self.windows.values() for pair in pairs]
        sections, windows = count(len(self.windows), "section"), count(len(every), "window")
        truth, of = "image as taken", first_few(list(self.windows))
        if len(self.windows) >= FEWEST:
            together = [_together(pairs) for pairs in self.windows.values()]
            return Intervals.fit(together, "sections", truth, f"{sections} ({of})")
        if len(every) < FEWEST:
            raise ValueError(
                f"{windows} of {WINDOW} px with tissue to calibrate on, {FEWEST} are needed: give "
                f"more or larger sections{self._because()}"
            )
        said = f"{windows} of {WINDOW} px of {sections} ({of})"
        section_of = [k for k, pairs in enumerate(self.windows.values()) for _ in pairs]
        return Intervals.fit(every, OF_FEW, truth, said, section_of)

    def width(self, intervals: Intervals) -> float:
        """Return how wide intervals are on average over the pixels that count."""
        predicted = np.concatenate([p for pairs in self.windows.values() for p, _ in pairs])
        return float(2 * intervals.half_width(predicted).mean())

    def _because(self) -> str:
        """Name what could not be used; why has been told of each."""
        return f"; {first_few(self.unused)} could not be used" if self.unused else ""


def window_pairs(ground: Ground, predicted: Floats) -> Iterator[Pair]:
    """Yield some of the pixels that count of windows beside each other: predicted, and true."""
    height, width = ground.truth.shape
    for y in range(0, height, WINDOW):
        for x in range(0, width, WINDOW):
            at = Box(y, x, min(y + WINDOW, height), min(x + WINDOW, width)).slices
            inside = ground.inside[at]
            if inside.sum() >= LEAST_SHARE * WINDOW**2:
                some = np.random.default_rng(0).permutation(int(inside.sum()))[:PIXELS_EACH]
                yield predicted[at][inside][some], ground.truth[at][inside][some]


def _together(pairs: Sequence[Pair]) -> Pair:
    predicted, truth = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return predicted, truth
