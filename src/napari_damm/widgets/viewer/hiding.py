"""What of a map is hidden, and in which words: what is not to be trusted, or what is less sure.

1. By trust, where the run has a trust map: first what is not to be used, then also what is to be
   used with care.
2. By certainty, 1 - uncertainty: what the model is less sure of than asked for.
3. Both tell which cells are hidden, and the share of the tissue that is left; `masked_map` is the
   NP map with 0 where something is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.trust.cells import CellTrust
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE
from napari_damm.util.areas import areas_on_map
from napari_damm.util.tiling import Box
from napari_damm.widgets.viewer.result_maps import BRANCH, CELL_PX
from napari_damm.widgets.viewer.result_tools import RunLayers, first_pixel
from napari_damm.widgets.viewer.run_notes import record_of


@dataclass(frozen=True)
class Hidden:
    """What is hidden of a run, on its cells.

    `cover` is what a layer over it is called, `rest` is added to the name of the map without it,
    `words` say what is hidden.
    """

    cells: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    cover: str
    rest: str
    words: str

    @property
    def share_left(self) -> float:
        """Share of the predicted tissue that is left, 0..1."""
        predicted = int(self.predicted.sum())
        return 1 - float(self.cells.sum() / predicted) if predicted else 1.0

    def __str__(self) -> str:
        return f"{self.words}: {100 * self.share_left:.0f} % of the tissue is left"


def by_trust(run: RunLayers, stop: int) -> Hidden:
    """Hide what is not to be used (stop 1), and what is to be used with care (stop 2).

    Raises
    ------
    ValueError
        If the run was not assessed, has not finished, or a layer was removed.
    """
    worth, predicted = run.worth, run.cells[1] > 0
    if stop == 1:
        cells = (worth == CellTrust.DO_NOT_USE) & predicted
        words = f"“{DO_NOT_USE}” is hidden"
        return Hidden(cells, predicted, "Not to be used", f"without {DO_NOT_USE}", words)
    cells = (worth > CellTrust.USE) & predicted
    words = f"“{WITH_CARE}” and “{DO_NOT_USE}” are hidden"
    return Hidden(cells, predicted, "Not to be used, or with care", f"{USE} alone", words)


def by_certainty(run: RunLayers, percent: int) -> Hidden:
    """Hide what the model is less sure of than this.

    Raises
    ------
    ValueError
        If a layer was removed.
    """
    uncertainty, branch = run.cells
    # As a person reads both numbers: 70 % sure is not less sure than 70 %.
    less_sure = 1 - uncertainty < percent / 100 - 1e-6
    return Hidden(
        less_sure & (branch > 0),
        branch > 0,
        f"Less than {percent} % sure",
        f"{percent} % sure or surer",
        f"less than {percent} % sure is hidden",
    )


def masked_map(run: RunLayers, hidden: Hidden) -> list[Any]:
    """Return the levels of the NP map, lazily, with 0 where something is hidden or not predicted.

    Raises
    ------
    ValueError
        If its layer was removed.
    """
    import dask.array as da

    layer = run.np
    if layer is None:
        raise ValueError("The layer NP distribution was removed: predict again, or open the store")
    left = hidden.predicted & ~hidden.cells
    levels = list(layer.data) if layer.multiscale else [layer.data]
    masked = []
    for level in levels:
        # A level's pixels are 1, 2, 4 ... of the finest.
        factor = max(1, round(levels[0].shape[0] / level.shape[0]))
        rows, cols = _cells_of(run, level.shape, left.shape, factor)
        lazy = level if isinstance(level, da.Array) else _lazy(np.asarray(level))
        mask = _lazy(left)[rows][:, cols].rechunk(lazy.chunks)
        masked.append(da.where(mask, lazy, 0).astype(lazy.dtype))
    return masked


def predicted_pixels(run: RunLayers, level: int = 0) -> NDArray[np.bool_] | None:
    """Return which pixels of a run's NP map were predicted; None where a layer was removed."""
    if run.np is None or BRANCH not in run.maps:
        return None
    levels = run.np.data if run.np.multiscale else [run.np.data]
    shape, factor = levels[level].shape, 2**level
    branch = np.asarray(run.maps[BRANCH].data)
    found: NDArray[np.bool_] = branch[np.ix_(*_cells_of(run, shape, branch.shape, factor))] > 0
    areas = areas_on_map(record_of(run.np) or {})
    return found if areas is None else found & areas.scaled(1 / factor).mask(Box(0, 0, *shape))


def _cells_of(
    run: RunLayers, shape: Sequence[int], cells: Sequence[int], factor: int = 1
) -> list[NDArray[np.intp]]:
    """Return in which rows and columns of cells pixels lie that are `factor` of the finest wide."""
    return [
        np.minimum((np.arange(n) * factor + first) // CELL_PX, count - 1)
        for n, first, count in zip(shape, first_pixel(run), cells, strict=True)
    ]


def _lazy(array: NDArray[Any]) -> Any:
    import dask.array as da

    return da.from_array(array)  # type: ignore[no-untyped-call]
