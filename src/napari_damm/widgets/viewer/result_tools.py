"""What is made of the layers of a prediction: masks of doubt, the least sure places, differences.

1. `RunLayers` are the layers of one run, by which of its maps they show.
2. Where the model is less sure than asked for, a layer covers the map; the share of the tissue that
   is left is said. `masked_map` gives the NP map with 0 there.
3. `least_sure_places` lists cells, the least sure first, that lie apart from each other.
4. `difference` of two maps of one grid, where both have pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.events import Branch
from napari_damm.widgets.viewer.result_layers import PREVIEW
from napari_damm.widgets.viewer.result_maps import (
    BRANCH,
    CELL_PX,
    FAMILIARITY,
    MAP,
    NP,
    UNCERTAINTY,
)
from napari_damm.widgets.viewer.run_notes import notes_of, record_of, result_layers

if TYPE_CHECKING:
    from napari.layers import Layer

APART_CELLS = 4
COVER, MASKED, DIFFERENCE, TRUST = "Less sure", "sure map", "difference", "Trust"
"""What layers made here show, in place of a map."""
MADE_HERE = (COVER, MASKED, DIFFERENCE, TRUST, PREVIEW)


@dataclass(frozen=True)
class RunLayers:
    """The layers of one run that are in the viewer, by which of its maps they show."""

    maps: dict[str, Layer]

    @property
    def np(self) -> Layer | None:
        """The nanoparticle map."""
        return self.maps.get(NP)

    @property
    def cells(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Uncertainty and branch, on cells.

        Raises
        ------
        ValueError
            If a layer was removed.
        """
        missing = [name for name in (UNCERTAINTY, BRANCH) if name not in self.maps]
        if missing:
            raise ValueError(
                f"The layer {missing[0]} was removed: predict again, or open the store"
            )
        return np.asarray(self.maps[UNCERTAINTY].data), np.asarray(self.maps[BRANCH].data)

    def values_at(self, position: Sequence[float]) -> str:
        """Say in words what the maps hold at a place in the world; "" outside."""
        values = {name: _value(layer, position) for name, layer in self.maps.items()}
        found = {name: value for name, value in values.items() if value is not None}
        if not found.get(BRANCH):
            return "not predicted here" if NP in found else ""
        said = [f"NP {found[NP]:.2f}"] if NP in found else []
        if UNCERTAINTY in found:
            said.append(f"{100 * (1 - found[UNCERTAINTY]):.0f} % sure")
        if FAMILIARITY in found:
            said.append(f"familiarity {found[FAMILIARITY]:.2f}")
        said.append(self._branch_in_words(round(found[BRANCH])))
        return ", ".join(said)

    def _branch_in_words(self, branch: int) -> str:
        record = record_of(self.maps[BRANCH]) or {}
        names = (record.get("model") or {}).get("modalities", ("vessels", "nuclei"))
        primary, secondary, *_ = names
        both = f"{primary} and {secondary}" if branch == Branch.MULTI_MODAL else f"{primary} alone"
        return f"from {both}"


def place_of(layer: Layer) -> dict[str, Any]:
    """Return where a layer lies, for another that is to lie there too."""
    return {"scale": layer.scale, "translate": layer.translate, "units": layer.units}


def runs_in(layers: Iterable[Layer]) -> list[RunLayers]:
    """List the runs that have layers in a viewer, the oldest first."""
    found: dict[int, dict[str, Layer]] = {}
    for layer in result_layers(layers):
        shows = layer.metadata.get(MAP)
        if shows is not None and shows not in MADE_HERE:
            found.setdefault(_run_key(layer), {})[shows] = layer
    return [RunLayers(maps) for maps in found.values()]


def run_of(layer: Layer, layers: Iterable[Layer]) -> RunLayers | None:
    """Return the run that a layer shows a map of, if any."""
    return next((run for run in runs_in(layers) if layer in run.maps.values()), None)


def sure_cells(run: RunLayers, least_sure: float) -> NDArray[np.bool_]:
    """Tell in which cells something is predicted, as sure as `least_sure` (0..1) or surer."""
    uncertainty, branch = run.cells
    # As a person reads both numbers: 70 % sure is not less sure than 70 %.
    sure: NDArray[np.bool_] = (1 - uncertainty >= least_sure - 1e-6) & (branch > 0)
    return sure


def share_left(run: RunLayers, least_sure: float) -> float:
    """Return the share of the predicted tissue that is as sure."""
    predicted = int((run.cells[1] > 0).sum())
    return float(sure_cells(run, least_sure).sum() / predicted) if predicted else 1.0


def cover_cells(run: RunLayers, least_sure: float) -> NDArray[np.uint8]:
    """Return 1 where the map is less sure, else 0."""
    less_sure = ~sure_cells(run, least_sure) & (run.cells[1] > 0)
    return np.asarray(less_sure, np.uint8)


def masked_map(run: RunLayers, least_sure: float) -> list[Any]:
    """Return the levels of the NP map, lazily, with 0 where it is less sure."""
    import dask.array as da

    layer = run.np
    if layer is None:
        raise ValueError("The layer NP distribution was removed: predict again, or open the store")
    sure = sure_cells(run, least_sure)
    levels = list(layer.data) if layer.multiscale else [layer.data]
    top, left = _first_pixel(run)
    masked = []
    for level in levels:
        # A level's pixels are 1, 2, 4 ... of the finest; the cells are 32.
        factor = max(1, round(levels[0].shape[0] / level.shape[0]))
        rows = np.minimum((np.arange(level.shape[0]) * factor + top) // CELL_PX, len(sure) - 1)
        cols = np.minimum((np.arange(level.shape[1]) * factor + left) // CELL_PX, sure.shape[1] - 1)
        lazy = level if isinstance(level, da.Array) else _lazy(np.asarray(level))
        mask = _lazy(sure)[rows][:, cols].rechunk(lazy.chunks)
        masked.append(da.where(mask, lazy, 0).astype(lazy.dtype))
    return masked


def least_sure_places(run: RunLayers) -> Iterator[tuple[float, float]]:
    """Yield the centres (y, x), in the world, of the least sure cells, each apart from the last."""
    uncertainty, branch = run.cells
    left = np.where(branch > 0, uncertainty, -1.0).astype(float)
    layer = run.maps[UNCERTAINTY]
    while left.max() >= 0:
        y, x = np.unravel_index(int(left.argmax()), left.shape)
        yield tuple(float(v) for v in layer.data_to_world((y, x))[-2:])  # type: ignore[misc]
        near = slice(max(0, y - APART_CELLS), y + APART_CELLS + 1)
        left[near, max(0, x - APART_CELLS) : x + APART_CELLS + 1] = -1


def difference(first: Layer, second: Layer) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return the first map minus the second, where both are, and the place of its first pixel.

    Raises
    ------
    ValueError
        If they do not lie on one grid, or share no ground.
    """
    if not np.allclose(first.scale, second.scale) or first.units != second.units:
        raise ValueError(
            f"'{first.name}' and '{second.name}' have pixels of different sizes: predict both with "
            "models of one pixel size"
        )
    offset = (np.asarray(second.translate) - first.translate) / first.scale
    shift = np.round(offset).astype(int)
    if np.abs(offset - shift).max() > 1e-3:
        raise ValueError(f"'{first.name}' and '{second.name}' lie between each other's pixels")
    a, b = (layer.data[0] if layer.multiscale else layer.data for layer in (first, second))
    low = np.maximum(0, shift)
    high = np.minimum(a.shape, np.asarray(b.shape) + shift)
    if not (high > low).all():
        raise ValueError(f"'{first.name}' and '{second.name}' share no ground")
    here = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    there = tuple(slice(*ends) for ends in zip(low - shift, high - shift, strict=True))
    values = np.asarray(a[here], np.float32) - np.asarray(b[there], np.float32)
    y, x = np.asarray(first.translate) + low * first.scale
    return values, (float(y), float(x))


def _lazy(array: NDArray[Any]) -> Any:
    import dask.array as da

    return da.from_array(array)  # type: ignore[no-untyped-call]


def _first_pixel(run: RunLayers) -> tuple[int, int]:
    """Return where the map's first pixel lies in its first cell."""
    fine, coarse = run.maps[NP], run.maps[UNCERTAINTY]
    corner = np.asarray(fine.translate) - np.asarray(fine.scale) / 2
    cells = np.asarray(coarse.translate) - np.asarray(coarse.scale) / 2
    y, x = np.round((corner - cells) / fine.scale).astype(int)
    return int(y), int(x)


def _run_key(layer: Layer) -> int:
    return id(notes_of(layer).key)


def _value(layer: Layer, position: Sequence[float]) -> float | None:
    """Return the value of a layer at a place in the world, whether it is shown or not."""
    data = layer.data[0] if layer.multiscale else layer.data
    y, x = (round(float(v)) for v in layer.world_to_data(tuple(position))[-2:])
    if not (0 <= y < data.shape[0] and 0 <= x < data.shape[1]):
        return None
    return float(np.asarray(data[y : y + 1, x : x + 1])[0, 0])
