"""Numbers of regions, beside the shapes that mark them: each shape is a row of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.marked_region import AREAS

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_damm.analysis.report import AnalysisReport

NUMBER = "{measure} ({unit})"


def fill_features(layer: Layer | None, report: AnalysisReport) -> None:
    """Write each region's numbers into the Shapes layer that it was drawn in."""
    from napari.layers import Shapes

    if not isinstance(layer, Shapes):
        return
    features: dict[str, list[Any]] = {}
    place = {f"{layer.name} {n}": k for n, k in enumerate(_marking(layer), 1)}
    for row in report.rows:
        if row.region in place:
            name = NUMBER.format(measure=row.measure, unit=row.unit).removesuffix(" ()")
            column = features.setdefault(name, [np.nan] * len(layer.data))
            column[place[row.region]] = np.nan if row.value is None else row.value
    layer.features = {**dict(layer.features), **features}


def select_region(layer: Layer | None, name: str) -> bool:
    """Select the shape that a row is of; tell whether there is one."""
    from napari.layers import Shapes

    if not isinstance(layer, Shapes) or not name.startswith(f"{layer.name} "):
        return False
    number = int(name.rpartition(" ")[2]) - 1
    marking = _marking(layer)
    if number >= len(marking):
        return False
    layer.selected_data = {marking[number]}
    return True


def _marking(layer: Any) -> list[int]:
    """Return which of a layer's shapes mark regions: lines and the like do not."""
    return [k for k, kind in enumerate(layer.shape_type) if kind in AREAS]
