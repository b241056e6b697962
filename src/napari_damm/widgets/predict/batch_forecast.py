"""What a batch will take, said before it begins: that of its sections, added up.

1. Sizes of sections come from the headers of their files, which are read in a thread, each once.
2. Windows, time and disk are added up, and memory is the most of any; what is done already counts
   for nothing, what is begun for the part that is missing.

The thread knows a queue and nothing of Qt: the window may be gone before it ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined,unused-ignore]

from napari_damm.util.text import count
from napari_damm.widgets.notes import Note
from napari_damm.widgets.predict.forecast import MEANING, Cost, cost_of, in_words

if TYPE_CHECKING:
    from napari_damm.engine.batch_sections import BatchSection
    from napari_damm.widgets.predict.batch_run import Choices

log = logging.getLogger(__name__)
POLL_MS = 50


@dataclass(frozen=True)
class Size:
    """What a file says of its section: pixels, and their side where it is stated."""

    shape: tuple[int, int]
    pixel_size_um: float | None


Sizes = dict[Path, Size | None]
"""By file; None where it cannot be read."""


class BatchForecast(Note):
    """The line; `size_found` is emitted as sizes become known."""

    size_found = Signal()

    def __init__(self) -> None:
        super().__init__("batch_forecast")
        self.setToolTip(MEANING)
        self._asked: set[Path] = set()
        self._sizes: Sizes = {}
        self._answers: SimpleQueue[tuple[Path, Size | None]] = SimpleQueue()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._collect)

    def show_for(
        self, waiting: Sequence[tuple[BatchSection, float]], total: int, choices: Choices | None
    ) -> None:
        """Say what the sections that wait will take, each with the share of it that is missing."""
        self._read(section.image for section, _ in waiting)
        costs = [] if choices is None else list(_costs(waiting, self._sizes, choices))
        self.say(_in_words(costs, len(waiting), total) if costs else "")

    def _read(self, images: Iterable[Path]) -> None:
        new = sorted({image for image in images if image not in self._asked})
        if new:
            self._asked.update(new)
            threading.Thread(
                target=_look, args=(new, self._answers), name="napari-damm sizes", daemon=True
            ).start()
            self._timer.start()

    def _collect(self) -> None:
        before = len(self._sizes)
        while not self._answers.empty():
            image, size = self._answers.get()
            self._sizes[image] = size
        if len(self._sizes) == len(self._asked):
            self._timer.stop()
        if len(self._sizes) > before:
            self.size_found.emit()


def _look(images: Sequence[Path], answers: SimpleQueue[tuple[Path, Size | None]]) -> None:
    for image in images:
        size = None
        try:
            size = size_of(image)
        except (OSError, ValueError) as error:  # said in its row, when it is its turn
            log.debug("The size of a section is not known: %s", error)
        finally:
            answers.put((image, size))


def size_of(image: Path) -> Size:
    """Read the size of a section from the header of its file."""
    from napari_damm.slide.raster import square_pixel_um
    from napari_damm.slide.readers import open_image

    file = open_image(image)
    stated = file.pixel_size_um
    height, width = file.planes[0][0].shape
    return Size((height, width), None if stated is None else square_pixel_um(stated, str(image)))


def _costs(
    waiting: Sequence[tuple[BatchSection, float]], sizes: Sizes, choices: Choices
) -> Iterable[Cost]:
    """Return what sections take of which file and choices say enough."""
    for section, missing in waiting:
        size, (model, settings) = sizes.get(section.image), choices.of(section)
        if size is None:
            continue
        given = section.options.get("pixel_size_um")
        um = size.pixel_size_um if given is None else float(given)
        model_um = choices.model_um.get(model) or um
        if um is None or model_um is None:
            continue
        cost = cost_of(size.shape, um / model_um, None, model, settings)
        yield replace(
            cost,
            windows=round(missing * cost.windows),
            result_bytes=missing * cost.result_bytes,
            seconds=None if cost.seconds is None else missing * cost.seconds,
        )


def _in_words(costs: Sequence[Cost], waiting: int, total: int) -> str:
    known = [cost.seconds for cost in costs if cost.seconds is not None]
    memory = [cost.memory_bytes for cost in costs if cost.memory_bytes is not None]
    whole = Cost(
        sum(cost.windows for cost in costs),
        sum(cost.result_bytes for cost in costs),
        sum(known) if len(known) == len(costs) else None,
        all(cost.measured for cost in costs),
        max(memory) if len(memory) == len(costs) else None,
    )
    of = f" of {total}" if len(costs) < total else ""
    unknown = waiting - len(costs)
    more = f"; the size of {unknown} is not known" if unknown else ""
    which = f"{len(costs)}{of} sections" if of else count(len(costs), "section")
    return f"{in_words(whole, True)} for {which} (up to {count(whole.windows, 'window')}{more})"
