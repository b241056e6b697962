"""The interval of a result: how low and how high the truth may be, pixel by pixel.

1. Of several samples it follows from their spread, if the model says how that is to be scaled.
2. Of an expected map it follows from what the model knows of its errors (`trust.intervals`), which
   the job record keeps.
3. A model that says neither is not calibrated: there is no interval then.

Nothing is stored for it: maps are computed when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array as da
import numpy as np

from napari_damm.store import Result
from napari_damm.trust import widths
from napari_damm.trust.intervals import FITTED_SAMPLES, KEY, OF_FEW, OTHERS_DIFFER, Intervals
from napari_damm.trust.verdict import DO_NOT_USE
from napari_damm.trust.widths import NORMAL_90, Widths

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

NOT_CALIBRATED = "not calibrated"


class PredictionInterval(NamedTuple):
    """Nominal 90 % intervals: dask maps (y, x) of relative intensity, and what they rest on."""

    low: da.Array
    high: da.Array
    fitted_on: str


def prediction_interval(result: Result) -> PredictionInterval | None:
    """Return between which values the truth is to be expected; None where nobody has measured it.

    Raises
    ------
    ValueError
        If what the record says of it cannot be used.
    """
    half = half_width(result)
    if half is None:
        return None
    return PredictionInterval(result.np - half, result.np + half, fitted_on(result.record))


def half_width(result: Result) -> da.Array | None:
    """Return how far the 90 % interval reaches above and below `np`; None: not calibrated.

    Raises
    ------
    ValueError
        If what the record says of it cannot be used.
    """
    if result.np_std is not None:
        return NORMAL_90 * result.np_std if _scaled(result.record) else None
    intervals = Intervals.of_card(result.record)
    if intervals is None:
        return None
    made: da.Array = da.map_blocks(intervals.half_width, result.np, dtype=np.float32)  # type: ignore[no-untyped-call]
    return made


def error_width(result: Result) -> da.Array | None:
    """Return `half_width`, or, of a model that is not calibrated, what ranks places by error.

    Raises
    ------
    ValueError
        If what the record says of it cannot be used.
    """
    half = half_width(result)
    errors = Widths.of_card(result.record)
    if half is not None or errors is None:
        return half
    made: da.Array = da.map_blocks(errors.at, result.np, dtype=np.float32)  # type: ignore[no-untyped-call]
    return made


def intervals_of(model: DAMM, expected: bool, samples: bool = False) -> dict[str, Any]:
    """Return what a job record says of intervals: {} where the model says nothing of such maps.

    Those are expected maps, and several samples where the card says how to widen their measures.
    Of a model that is not calibrated, what its few validation windows were off by.

    Raises
    ------
    ValueError
        If what the model's card says of them cannot be used.
    """
    known, errors = Intervals.of_card(model.card), Widths.of_card(model.card)
    if known is None:
        return {widths.KEY: errors.to_json()} if errors is not None and expected else {}
    return {KEY: known.to_json()} if expected or (samples and known.samples) else {}


def fitted_on(record: Mapping[str, Any]) -> str:
    """Say in words what the intervals of a result rest on; "not calibrated" where on nothing."""
    if int(record.get("samples", 1)) > 1:
        if not _scaled(record):
            return NOT_CALIBRATED
        few = int(record["samples"]) < FITTED_SAMPLES
        return (
            f"the spread of {record['samples']} samples, times {record['spread_factor']:g}"
            + f", which was fitted with {FITTED_SAMPLES}: of fewer it holds less" * few
        )
    known = Intervals.of_card(record)
    if known is None:
        return NOT_CALIBRATED
    if known.unit == OF_FEW:
        return f"{known.fitted_on}, against the {known.truth}; {OTHERS_DIFFER}"
    return (
        f"{known.count} {known.unit} that the model had not learnt from, against the {known.truth}"
    )


def interval_in_words(record: Mapping[str, Any]) -> str:
    """Say in one line how wide the 90 % interval of a finished result is, and what it rests on.

    "90 %: 0.21 wide on average, where the map goes from 0 to 1 (from 60 sections that the model had
    not learnt from, ...)", or "not calibrated". Of a section that is not to be used it says that
    they do not hold for it.
    """
    rests_on = fitted_on(record)
    trust = record.get("trust") or {}
    width = trust.get("interval_width")
    if rests_on == NOT_CALIBRATED:
        return rests_on
    if width is None:
        return f"90 % (from {rests_on})"
    said = f"90 %: {width:.2f} wide on average, where the map goes from 0 to 1 (from {rests_on})"
    return f"{said}; not for images like these" if trust.get("verdict") == DO_NOT_USE else said


def _scaled(record: Mapping[str, Any]) -> bool:
    """Return whether the spread of samples was scaled by what was measured."""
    return float(record.get("spread_factor", 1.0)) != 1.0
