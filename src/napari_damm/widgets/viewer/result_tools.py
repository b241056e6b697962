"""What is read from the layers of a prediction: what a place is worth, where it is least sure.

1. `RunLayers` are the layers of one run, by which of its maps they show; what each of its cells is
   worth is computed when it is first asked for.
2. `least_sure_places` lists cells, the least sure first, that lie apart from each other.
3. `difference` of two maps of one grid, where both have pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.events import Branch
from napari_damm.widgets.viewer.result_maps import (
    BRANCH,
    CELL_PX,
    FAMILIARITY,
    FIRST_PIXEL,
    MAP,
    MASKED,
    NP,
    PREVIEW,
    UNCERTAINTY,
)
from napari_damm.widgets.viewer.run_notes import NO_NOTES, notes_of, record_of, result_layers
from napari_damm.widgets.viewer.slices import in_units_of

if TYPE_CHECKING:
    from napari.layers import Layer

APART_CELLS = 4
COVER, DIFFERENCE, TRUST = "Less sure", "difference", "Trust"
"""What layers made here show, in place of a map."""
LEAST_SURE = "Least sure place"
ABOUT_A_MAP = (COVER, DIFFERENCE, TRUST, LEAST_SURE)
"""What lies over a map and speaks of it alone."""
MADE_HERE = (COVER, MASKED, DIFFERENCE, TRUST, PREVIEW)


@dataclass(frozen=True)
class RunLayers:
    """The layers of one run that are in the viewer, by which of its maps they show."""

    maps: dict[str, Layer]

    @property
    def key(self) -> object:
        """What is the same of all layers of a run, and of no other."""
        first = next(iter(self.maps.values()))
        return first if notes_of(first) is NO_NOTES else notes_of(first).key

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

    @property
    def assessed(self) -> bool:
        """Whether it is known what its cells are worth: only of a run that has finished."""
        result = notes_of(next(iter(self.maps.values()))).result
        return result is not None and result.familiarity is not None

    @cached_property
    def worth(self) -> NDArray[Any]:
        """What each cell is worth (`trust.cells.CellTrust`); it takes seconds for a whole slide.

        Raises
        ------
        ValueError
            If the run has not finished, or the model does not say which images it knows.
        """
        from napari_damm.engine.trusted import trust_map

        result = notes_of(next(iter(self.maps.values()))).result
        if result is None:
            raise ValueError("The prediction has not finished: wait for it, then try again")
        worth = trust_map(result)
        if worth is None:
            raise ValueError("Not assessed: the model does not say which images it knows")
        return worth

    def values_at(self, position: Sequence[float], dims: Any = None) -> str:
        """Say in words what the maps hold at a place in the viewer's world; "" outside.

        `dims` are the viewer's, whose units the place is in; None: those of the layers.
        """
        values = {name: _value(layer, position, dims) for name, layer in self.maps.items()}
        found = {name: value for name, value in values.items() if value is not None}
        if not found:
            return ""
        if BRANCH in self.maps and not found.get(BRANCH):
            return "not predicted here" if NP in found else ""
        said = [f"NP {found[NP]:.2f}"] if NP in found else []
        if UNCERTAINTY in found:
            said.append(f"{100 * (1 - found[UNCERTAINTY]):.0f} % sure")
        if FAMILIARITY in found:
            said.append(f"familiarity {found[FAMILIARITY]:.2f}")
        if BRANCH in found:
            said.append(self._branch_in_words(round(found[BRANCH])))
        return ", ".join(said)

    def _branch_in_words(self, branch: int) -> str:
        record = record_of(self.maps[BRANCH]) or {}
        names = (record.get("model") or {}).get("modalities", ("vessels", "nuclei"))
        primary, secondary, *_ = names
        if branch == Branch.MULTI_MODAL:
            return f"from {primary} and {secondary}"
        return f"{secondary} not trusted"


def place_of(layer: Layer) -> dict[str, Any]:
    """Return where a layer lies, for another that is to lie there too."""
    return {"scale": layer.scale, "translate": layer.translate, "units": layer.units}


def first_pixel(run: RunLayers) -> tuple[int, int]:
    """Return where (y, x) the map's first pixel lies in its first cell, wherever layers are now."""
    fine, coarse = run.maps[NP], run.maps[UNCERTAINTY]
    known = fine.metadata.get(FIRST_PIXEL)
    if known is not None:
        return known[0], known[1]
    corner = np.asarray(fine.translate) - np.asarray(fine.scale) / 2
    cells = np.asarray(coarse.translate) - np.asarray(coarse.scale) / 2
    y, x = np.round((corner - cells) / fine.scale).astype(int)
    return int(y), int(x)


def place_of_cells(run: RunLayers) -> dict[str, Any]:
    """Return where cells lie that are drawn about the map: with it, if it alone was moved."""
    np_map = run.np
    if np_map is None or np_map.metadata.get(FIRST_PIXEL) is None:
        return place_of(run.maps[UNCERTAINTY])
    pixel = np.asarray(np_map.scale)
    corner = np.asarray(np_map.translate) - pixel / 2 - pixel * first_pixel(run)
    scale = pixel * CELL_PX
    return {"scale": scale, "translate": corner + scale / 2, "units": np_map.units}


def runs_in(layers: Iterable[Layer]) -> list[RunLayers]:
    """List the runs that have layers in a viewer, the oldest first."""
    found: dict[int, dict[str, Layer]] = {}
    for layer in result_layers(layers):
        shows = layer.metadata.get(MAP)
        if shows is not None and shows not in MADE_HERE:
            found.setdefault(id(notes_of(layer).key), {})[shows] = layer
    return [RunLayers(maps) for maps in found.values()]


def run_of(layer: Layer, layers: Iterable[Layer]) -> RunLayers | None:
    """Return the run that a layer shows a map of, or was made of, if any."""
    key = notes_of(layer).key
    found = (run for run in runs_in(layers) if layer in run.maps.values() or key is run.key)
    return next(found, None)


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


def difference(
    first: Layer,
    second: Layer,
    predicted: Sequence[NDArray[np.bool_] | None] = (None, None),
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return the first map minus the second, where both are, and the place of its first pixel.

    `predicted` are the pixels that either has; NaN where one of them has none.

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
    for known, place in zip(predicted, (here, there), strict=True):
        if known is not None:
            values[~known[place]] = np.nan
    y, x = np.asarray(first.translate) + low * first.scale
    return values, (float(y), float(x))


def _value(layer: Layer, position: Sequence[float], dims: Any = None) -> float | None:
    """Return the value of a layer at a place in the world, whether it is shown or not."""
    data = layer.data[0] if layer.multiscale else layer.data
    y, x = (round(float(v)) for v in layer.world_to_data(in_units_of(layer, dims, position))[-2:])
    if not (0 <= y < data.shape[0] and 0 <= x < data.shape[1]):
        return None
    return float(np.asarray(data[y : y + 1, x : x + 1])[0, 0])
