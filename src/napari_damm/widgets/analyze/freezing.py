"""From the controls to a request: what is picked and shown now, or why it cannot be measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.analyze.channel_box import DRAWABLE, is_drawn
from napari_damm.widgets.analyze.predicted_size import check_finished, check_size
from napari_damm.widgets.analyze.request import AnalyzeRequest
from napari_damm.widgets.viewer.layer_slides import request_channels
from napari_damm.widgets.viewer.marked_region import marked_by
from napari_damm.widgets.viewer.roles import RESULT_KEY, Channel
from napari_damm.widgets.viewer.run_notes import notes_of
from napari_damm.widgets.viewer.slices import shown_plane

if TYPE_CHECKING:
    from napari_damm.widgets.analyze.form import AnalyzeForm


def frozen(form: AnalyzeForm, dims: Any, size_um: float) -> AnalyzeRequest:
    """Freeze the controls; `size_um` is that of a pixel of the vessels, `dims` are the viewer's.

    Raises
    ------
    ValueError
        With the reason why nothing can be measured.
    """
    from napari_damm.analysis.config import AnalyzeConfig, bands_of

    particles, vessels = form.particles.picked, form.vessels.picked
    if vessels is None or particles is None:
        missing = "particles" if particles is None else "vessels"
        raise ValueError(f"Pick a {missing} layer")
    channels: dict[str, Channel] = {"vessels": vessels, "particles": particles}
    more = {"nuclei": form.nuclei.picked, "imaged": form.imaged.picked}
    channels |= {role: picked for role, picked in more.items() if picked is not None}
    if form.imaged.picked is not None and RESULT_KEY not in particles.layer.metadata:
        raise ValueError("Pick a predicted map as Particles to compare it with imaged ones")
    check_finished(particles)
    for role, channel in channels.items():
        _check_is_no_mask(role, channel)
    planes = {role: shown_plane(channel, dims) for role, channel in channels.items()}
    shown = {role: plane for role, (plane, _) in planes.items()}
    titles = {role: ", ".join(filter(None, (p.label, w))) for role, (p, w) in planes.items()}
    slide = replace(request_channels(shown, size_um), titles=titles)
    check_size(particles, slide)
    layer: Any = form.region.picked()
    marked = None
    if layer is not None:
        marked = marked_by(layer, shown["vessels"], slide.world, dims)
    return AnalyzeRequest(
        slide,
        AnalyzeConfig(
            vessel_threshold=form.vessel_cut_off.value,
            particle_threshold=form.particle_cut_off.value,
            bands=bands_of(form.bands.text()),
        ),
        marked,
        "" if layer is None else str(layer.name),
        particles.layer.metadata.get(RESULT_KEY) or {},
        notes_of(particles.layer).result,
        frozenset(role for role, picked in channels.items() if is_drawn(picked)),
        tuple((role, plane, id(plane.layer.data)) for role, plane in shown.items()),
    )


def _check_is_no_mask(role: str, channel: Channel) -> None:
    """Refuse images of true and false; as labels, drawn vessels and nuclei are welcome."""
    if is_drawn(channel) or np.dtype(channel.layer.dtype) != bool:
        return
    remedy = "pick an image of intensities"
    if role in DRAWABLE:
        remedy = "right-click it in the layer list, Convert to Labels, and pick that"
    raise ValueError(f"'{channel.layer.name}' ({role}) is a mask (true or false): {remedy}")
