"""Where a predicted map differs from the imaged one, as a layer beside the other two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.derived_layers import difference_colours
from napari_damm.widgets.viewer.result_maps import UM_PER_UNIT
from napari_damm.widgets.viewer.roles import RESULT_KEY

if TYPE_CHECKING:
    from napari_damm.analysis.report import SectionFacts
    from napari_damm.widgets.analyze.request import AnalyzeRequest

DIFFERENCE_LAYER = "Predicted minus imaged"
LIMITS = (-0.5, 0.5)


def show_difference(viewer: Any, request: AnalyzeRequest, facts: SectionFacts) -> str:
    """Show the layer, in place of an earlier one, and say how far both agree; "" of one map."""
    found = facts.agreement
    if found is None:
        return ""
    from napari.layers import Image

    for old in [layer for layer in viewer.layers if layer.name == DIFFERENCE_LAYER]:
        viewer.layers.remove(old)
    corner = request.slide.origins_um["particles"]
    layer = Image(
        found.difference,
        name=DIFFERENCE_LAYER,
        colormap=difference_colours(),
        contrast_limits=LIMITS,
        blending="translucent_no_depth",
        metadata={RESULT_KEY: {}, UM_PER_UNIT: request.slide.world.um_per_unit},
        **request.slide.world.place(found.pixel_um[0], corner),
    )
    active = viewer.layers.selection.active
    viewer.layers.append(layer)
    viewer.layers.selection.active = active
    numbers = [
        f"{label} {value:.2f}"
        for label, value in (("SSIM", found.ssim), ("R²", found.r2), ("ICC", found.icc))
        if value is not None
    ]
    return f"{DIFFERENCE_LAYER}: red is predicted too high, blue too low; {', '.join(numbers)}"
