"""Which plane of a z-stack or time series is predicted: the one that the viewer shows.

1. The leading axes of a layer that are longer than one and hold no channels are stack axes.
2. The viewer's sliders say, in the world, where the shown slice is; the layer's transform says
   which of its planes that is.
3. Where no single plane is shown (3-D view, y or x on a slider) there is nothing to predict from,
   and a sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Image, Layer


def stack_axes(channel: Channel) -> tuple[int, ...]:
    """Return the layer's axes along which a plane has to be chosen."""
    leading = channel.layer.data.shape[: len(channel.index)]
    return tuple(a for a, size in enumerate(leading) if size > 1 and a != channel.axis)


def shown_plane(channel: Channel, dims: Any) -> tuple[Channel, str]:
    """Return the plane of a channel that the viewer shows, and its name ("z3", "" for an image).

    Raises
    ------
    ValueError
        If the viewer shows no single plane of this layer.
    """
    axes = stack_axes(channel)
    if not axes:
        return channel, ""
    layer = channel.layer
    if {a - dims.ndim for a in dims.displayed} != {-2, -1}:
        raise ValueError(
            f"'{layer.name}' is a stack: show its y and x in the 2-D view, so that the slider "
            "picks a slice"
        )
    at = layer.world_to_data(in_units_of(layer, dims, dims.point))
    index = list(channel.index)
    for axis in axes:
        index[axis] = round(float(at[axis]))
        if not 0 <= index[axis] < layer.data.shape[axis]:
            raise ValueError(f"The slider is outside '{layer.name}': move it to one of its slices")
    words = ", ".join(_axis_name(layer, axis) + str(index[axis]) for axis in axes)
    return replace(channel, index=tuple(index)), words


def in_units_of(layer: Layer, dims: Any, point: Sequence[float]) -> list[float]:
    """Return a point of the viewer's world along the layer's axes, in the layer's own units.

    `dims` are the viewer's; None: it is in these units already.
    """
    return [at * factor for at, factor in zip(*_ends(layer, dims, point), strict=True)]


def in_units_shown(layer: Layer, dims: Any, point: Sequence[float]) -> list[float]:
    """Return a point in the layer's units in those of the viewer: the inverse of `in_units_of`."""
    return [at / factor for at, factor in zip(*_ends(layer, dims, point), strict=True)]


def _ends(layer: Layer, dims: Any, point: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the last coordinates that both have, and layer units in one unit of the viewer."""
    count = min(layer.ndim, len(point))
    at = [float(value) for value in point][-count:]
    shown_units = getattr(dims, "units", None)  # napari before 0.9 has none
    if shown_units is None:
        return at, [1.0] * count
    pairs = zip(list(shown_units)[-count:], layer.units[-count:], strict=True)
    return at, [
        float((1.0 * shown).to(own).magnitude) if own.is_compatible_with(shown) else 1.0
        for shown, own in pairs
    ]


def _axis_name(layer: Image, axis: int) -> str:
    label = str(layer.axis_labels[axis])
    if not label.isidentifier():  # napari numbers the axes that nobody named
        return "slice "
    return label if len(label) == 1 else f"{label} "
