"""What a job says of trust: of the section before it begins, of its cells when it ends.

A model that does not say which images it knows is used all the same; the record says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_damm.engine.config import cores
from napari_damm.engine.intervals import error_width, half_width
from napari_damm.engine.planning import Plan
from napari_damm.events import Notice
from napari_damm.slide import Slide
from napari_damm.store import Result, ResultStore
from napari_damm.store.layout import ResultLayout
from napari_damm.trust import cells
from napari_damm.trust.known import Known
from napari_damm.trust.section import assess
from napari_damm.trust.verdict import NOT_ASSESSED, USE, in_a_line
from napari_damm.util.areas import Areas, areas_on_map
from napari_damm.util.tiling import CELL, Box

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

CELLS_DOWN, CELLS_ACROSS, MOST_THREADS = 16, 128, 4
"""Cells of a block that is read at once, and how many blocks are."""


def trust_before(slide: Slide, model: DAMM, planned: Plan) -> tuple[dict[str, Any], Plan]:
    """Return the verdict on a section, for the record of a job that is about to begin.

    Also return the plan, with the statistics of the windows that were looked at.
    """
    known = Known.of_card(model.card)
    if known is None:
        return cells.before(None), planned
    # In the order of the lattice, wherever the run begins: the verdict is the section's. Where
    # tissue ends is glass, which no model has learnt: it is judged place by place.
    windows = planned.inner or sorted(planned.windows)
    found = assess(slide, model.card, planned.model_um, planned.normalisation, windows)
    measured = {} if found is None else found.windows
    return cells.before(found, known.fitted_on), replace(planned, measured=measured)


def trust_after(store: ResultStore) -> dict[str, Any]:
    """Return what the record gains at the end: the shares of the tissue; {} without a map."""
    trust, result = store.record.get("trust"), store.result()
    if result.familiarity is None or not isinstance(trust, Mapping):
        return {}
    calibrated = half_width(result) is not None
    familiarity, uncertainty, branch, width = _cell_maps(result)
    return {"trust": cells.after(trust, familiarity, uncertainty, branch, width, calibrated)}


def trust_map(result: Result) -> NDArray[np.uint8] | None:
    """Return what each cell is worth (`trust.cells.CellTrust`); None where that is not assessed."""
    return None if result.familiarity is None else cells.trust_cells(*_cell_maps(result))


def _cell_maps(result: Result) -> tuple[Any, ...]:
    """Return what is known of the cells of a result: the maps of `trust_cells`."""
    given = (result.familiarity, result.uncertainty, result.branch)
    half = error_width(result)
    areas = areas_on_map(result.record)
    width = None if half is None else 2 * _cell_means(half, result.layout, areas)
    return (*(np.asarray(each) for each in given), width)


def _cell_means(
    values: da.Array, layout: ResultLayout, areas: Areas | None = None
) -> NDArray[np.float64]:
    """Return the means over cells of a map of pixels (those in areas), block by block."""
    rows, cols = layout.cells_shape
    means = np.zeros((rows, cols))

    def block(first_row: int, first_col: int) -> None:
        some = np.s_[first_row : first_row + CELLS_DOWN, first_col : first_col + CELLS_ACROSS]
        y, x = (_edges(layout, axis, some[axis]) for axis in (0, 1))
        part = np.asarray(values[y[0] : y[-1], x[0] : x[-1]], np.float64)
        counts: NDArray[Any] = np.diff(y)[:, None] * np.diff(x)
        begins = y[:-1] - y[0], x[:-1] - x[0]
        if areas is not None:
            inside = areas.mask(Box(*map(int, (y[0], x[0], y[-1], x[-1])))).astype(np.float64)
            part = part * inside
            counts = _sums(inside, *begins)
        means[some] = _sums(part, *begins) / np.maximum(counts, 1)

    corners = product(range(0, rows, CELLS_DOWN), range(0, cols, CELLS_ACROSS))
    with ThreadPoolExecutor(min(MOST_THREADS, cores()), "napari-damm cells") as threads:
        for _ in threads.map(lambda corner: block(*corner), corners):
            pass
    return means


def _edges(layout: ResultLayout, axis: int, some: slice) -> NDArray[np.intp]:
    """Return where cells of an axis begin, in pixels of the map, and where the last ends."""
    last = min(some.stop, layout.cells_shape[axis])
    edges: NDArray[np.intp] = np.arange(some.start, last + 1) * CELL - layout.cells_origin[axis]
    return edges.clip(0, layout.shape[axis])


def _sums(
    values: NDArray[np.float64], y: NDArray[np.intp], x: NDArray[np.intp]
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values, y, axis=0), x, axis=1)
    return found


def trust_notices(trust: Mapping[str, Any]) -> Iterator[Notice]:
    """Say before a run what speaks against it; it goes on all the same."""
    verdict = trust.get("verdict")
    if verdict in (USE, NOT_ASSESSED, None):
        return
    yield Notice(in_a_line(str(verdict), trust.get("reasons", ())), "warning")
