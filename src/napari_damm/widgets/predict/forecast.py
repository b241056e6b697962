"""What a prediction will take, said before it begins: windows, time, memory, space on disk.

1. The windows are counted from sizes alone, so it costs nothing; empty glass makes them fewer.
2. Time and memory come from earlier runs of the same model, mode, samples and device on this
   machine, which are kept in a small file of the user's cache. Before the first run nobody knows,
   but what two processor cores took with the bundled model tells whether it is seconds or hours.
   Memory does not grow with the section, except by a result that is kept in it.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import EXPECTED, FAST
from napari_damm.util.areas import Areas
from napari_damm.util.bounded_json import read_json
from napari_damm.util.devices import ALWAYS, devices_here
from napari_damm.util.files import replace_file
from napari_damm.util.text import count, duration, gigabytes
from napari_damm.util.tiling import Box, Lattice
from napari_damm.widgets.viewer.regions import MarkedPart, PaintedAreas

if TYPE_CHECKING:
    from napari_damm.widgets.predict.request import PredictRequest

log = logging.getLogger(__name__)
DISK_BYTES_PER_PX = 2 * 4 / 3  # float16, with the levels above it
MOST_KEPT = 200
MEMORY = " memory"
UNKNOWN = "a first run shows how long"
MEANING = (
    "What it takes at most. Time and memory are those of the last run of this kind on this "
    "machine; “roughly” is before a first one, as on two processor cores"
)
GUESSED_S = {EXPECTED: 0.2, FAST: 1.0, "draft": 0.6, "reference": 60.0}
_NAMES = ("mode", "views", "samples", "device", "precision")


def forecast(request: PredictRequest, model_um: float | None) -> tuple[str, float | None]:
    """Say what a request will take at most, and return the seconds.

    They are a guess before a first run, None where there is nothing to guess from.
    """
    um = request.slide.pixel_sizes_um["vessels"]
    shape = request.slide.planes["vessels"][0].shape
    cost = cost_of(shape, um / (model_um or um), _part(request), request.model, request.settings)
    saved = request.out is not None
    return f"{in_words(cost, saved)} (up to {count(cost.windows, 'window')})", cost.seconds


@dataclass(frozen=True)
class Cost:
    """What a prediction takes at most; None where nobody knows.

    `measured` tells whether the time is that of an earlier run of this kind; `memory_bytes` are
    without the result.
    """

    windows: int
    result_bytes: float
    seconds: float | None = None
    measured: bool = False
    memory_bytes: float | None = None


def cost_of(
    shape: tuple[int, int],
    factor: float,
    part: MarkedPart | None,
    model: Path,
    settings: Mapping[str, Any],
) -> Cost:
    """Return what a section, or a part, takes, with `factor` model pixels per pixel."""
    box, whole = _model_box(shape, factor, part)
    windows = _touching(whole[0], box.y0, box.y1) * _touching(whole[1], box.x0, box.x1)
    per_window = seconds_per_window(model, settings)
    measured = per_window is not None
    seconds = _guess(settings, windows) if per_window is None else windows * per_window
    result = math.prod(box.shape) * DISK_BYTES_PER_PX
    return Cost(windows, result, seconds, measured, working_memory(model, settings))


def in_words(cost: Cost, saved: bool) -> str:
    """Say the time, the memory, and the space on disk of a result that is saved."""
    words = [_time_in_words(cost)]
    if cost.memory_bytes is not None:
        held = cost.memory_bytes + (0 if saved else cost.result_bytes)
        words.append(f"{gigabytes(held)} of memory")
    if saved:
        words.append(f"up to {gigabytes(cost.result_bytes)} on disk")
    return ", ".join(words)


def _time_in_words(cost: Cost) -> str:
    if cost.seconds is None:
        return UNKNOWN
    return f"{'about' if cost.measured else 'roughly'} {duration(cost.seconds)}"


def _guess(settings: Mapping[str, Any], windows: int) -> float | None:
    """Return what windows took on two processor cores; a graphics card is no such thing."""
    per_window = GUESSED_S.get(str(settings.get("mode")))
    if per_window is None or devices_here() != ALWAYS:
        return None
    samples = int(settings.get("samples") or 1)
    again = per_window * int(settings.get("views") or 1)
    if settings.get("mode") == EXPECTED:
        again += GUESSED_S[FAST] * samples if samples > 1 else 0.0
    else:
        again *= samples
    return windows * again


def seconds_per_window(model: Path, settings: Mapping[str, Any]) -> float | None:
    """Return what a window took in the last run of this kind."""
    return _number(_kept().get(_key(model, settings)))


def working_memory(model: Path, settings: Mapping[str, Any]) -> float | None:
    """Return the bytes that the last run of this kind needed, less a result kept in memory."""
    return _number(_kept().get(_key(model, settings) + MEMORY))


def keep_timing(
    model: Path,
    settings: Mapping[str, Any],
    seconds: float,
    windows: int,
    memory_bytes: int = 0,
) -> None:
    """Note what the windows of a run took, and how much memory it needed (0: not known)."""
    if windows <= 0 or not seconds > 0:
        return
    kept = _kept()
    key = _key(model, settings)
    kept.pop(key, None)
    kept[key] = round(seconds / windows, 4)
    kept.pop(key + MEMORY, None)
    if memory_bytes > 0:
        kept[key + MEMORY] = memory_bytes
    newest = dict(list(kept.items())[-MOST_KEPT:])
    file = timings_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(newest).encode())
    except OSError as error:  # a cache that cannot be written stops nobody
        log.debug("The timing is not kept: %s", error)


def timings_file() -> Path:
    """Return where timings are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("napari-damm", False) / "timings.json"


def _number(found: Any) -> float | None:
    usable = isinstance(found, int | float) and 0 < found < math.inf
    return float(found) if usable else None


def _kept() -> dict[str, Any]:
    try:
        found = read_json(timings_file())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _key(model: Path, settings: Mapping[str, Any]) -> str:
    return " ".join(str(part) for part in (model, *(settings.get(n) for n in _NAMES)))


def _part(request: PredictRequest) -> MarkedPart | None:
    """Return what is predicted: of a result that is resumed, what it was begun with."""
    if request.begun is None:
        return request.region
    roi = request.begun.record.get("roi")
    areas = request.begun.record.get("areas")
    return Areas.from_json(areas) if areas else (tuple(roi) if roi else None)


def _model_box(
    shape: tuple[int, int], factor: float, part: MarkedPart | None
) -> tuple[Box, tuple[int, int]]:
    """Return the box that is predicted and the whole section's size, in model pixels."""
    whole = (max(1, math.ceil(shape[0] * factor)), max(1, math.ceil(shape[1] * factor)))
    if part is None or isinstance(part, PaintedAreas):
        return Box(0, 0, *whole), whole
    y0, x0, y1, x1 = part.bounds if isinstance(part, Areas) else part
    low, high = (
        (math.floor(v * factor) for v in (y0, x0)),
        (math.ceil(v * factor) for v in (y1, x1)),
    )
    return Box(*low, *high).intersect(Box(0, 0, *whole)), whole


def _touching(size: int, low: int, high: int) -> int:
    """Count the windows along one axis that touch it between two pixels."""
    return len(Lattice((size, 1)).windows_touching(Box(low, 0, high, 1)))
