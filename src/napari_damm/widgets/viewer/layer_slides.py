"""From channels shown in the viewer to the slide that the engine reads.

1. The layer's transform says where its pixels are in the viewer's world; anything but scaling and
   moving (shear, rotation, flips, oblong pixels) is refused, because resampling would lie.
2. The vessels' pixel size in um, stated by the layer or entered, fixes how many um one unit of
   that world is. Nuclei (and the target to train on) are placed in the same world, so what lies
   together on the screen lies together in the slide.
3. Results go back through the same `World`, in the units of the vessels' layer: they overlay it
   whatever it is measured in, even beside layers that state no unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_damm.slide import Slide

SQUARE_TOLERANCE = 0.01


@dataclass(frozen=True)
class World:
    """How um relate to viewer coordinates: `units` are those of the vessels' layer."""

    um_per_unit: float = 1.0
    units: str = "um"

    def place(self, pixel_size_um: float, corner_um: Sequence[float]) -> dict[str, Any]:
        """Return the layer arguments that put a map of such pixels where it belongs.

        napari puts pixel centres on coordinates, hence the half pixel.
        """
        scale = pixel_size_um / self.um_per_unit
        centre = [c / self.um_per_unit + scale / 2 for c in corner_um]
        return {"scale": (scale, scale), "translate": tuple(centre), "units": (self.units,) * 2}


@dataclass(frozen=True)
class Grid:
    """Where a channel's pixels lie: pixel side and upper left corner in world units."""

    side: float
    corner: tuple[float, float]
    shape: tuple[int, int]
    unit: str
    um_per_unit: float | None  # None where the unit is no length ("pixel")
    layer: str = ""

    def overlaps(self, other: Grid, ratio: float) -> bool:
        """Tell whether two grids share ground; `ratio` of this grid's units make one of other's."""
        return all(
            a < d + m * other.side * ratio and d < a + n * self.side
            for a, n, d, m in zip(
                self.corner,
                self.shape,
                (c * ratio for c in other.corner),
                other.shape,
                strict=True,
            )
        )


@dataclass(frozen=True)
class LayerSource:
    """Where a picked plane comes from: layer, indices and, if it has one, file.

    `shapes` are those of the layer's levels, finest first.
    """

    layer: str
    index: tuple[int, ...]
    rgb: int | None
    path: str | None
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, channel: Channel) -> LayerSource:
        """Note where a channel comes from."""
        layer = channel.layer
        levels = layer.data if layer.multiscale else [layer.data]
        path = layer.source.path
        shapes = tuple(tuple(map(int, level.shape[len(channel.index) :][:2])) for level in levels)
        return cls(str(layer.name), channel.index, channel.rgb, path and str(path), shapes)

    def is_of(self, channel: Channel) -> bool:
        """Tell whether a channel is this one, whichever plane of a stack is shown."""
        axis = channel.axis
        number = None if axis is None else channel.index[axis : axis + 1]
        same_number = axis is None or number == self.index[axis : axis + 1]
        return same_number and (str(channel.layer.name), channel.rgb) == (self.layer, self.rgb)


@dataclass(frozen=True)
class SlideRequest:
    """Channels by role, resolved and checked; `slide()` may be slow, and is for the worker.

    `titles` name layer and plane by role, for the record; `sources` say where they come from.
    """

    name: str
    planes: dict[str, list[Any]]
    pixel_sizes_um: dict[str, float]
    origins_um: dict[str, tuple[float, float]]
    world: World
    plane: str = ""  # of a stack, such as "z3"
    titles: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, LayerSource] = field(default_factory=dict)

    def covered_share(self, role: str, other: str) -> float:
        """Return the share of one image, 0..1, that another one covers."""
        share = 1.0
        for axis in (0, 1):
            (low, high), (begin, end) = self.span_um(role, axis), self.span_um(other, axis)
            share *= max(0.0, min(high, end) - max(low, begin)) / (high - low)
        return share

    def span_um(self, role: str, axis: int) -> tuple[float, float]:
        """Return where an image begins and ends along an axis."""
        low = self.origins_um[role][axis]
        return low, low + self.planes[role][0].shape[axis] * self.pixel_sizes_um[role]

    def slide(self) -> Slide:
        """Build the slide."""
        from napari_damm.slide import slide_from_arrays

        return slide_from_arrays(
            self.planes, self.pixel_sizes_um, self.origins_um, name=self.name, titles=self.titles
        )


def grid_of(channel: Channel) -> Grid:
    """Return where a channel's pixels lie.

    Raises
    ------
    ValueError
        If the layer is rotated, sheared, flipped or made of oblong pixels.
    """
    layer = channel.layer
    ndim = layer.ndim
    index = np.zeros(ndim)
    index[: len(channel.index)] = channel.index
    origin = np.asarray(layer.data_to_world(tuple(index)))
    steps = np.stack([np.asarray(layer.data_to_world(tuple(index + e))) for e in np.eye(ndim)[-2:]])
    steps -= origin
    height, width = steps[0, -2], steps[1, -1]
    side = float(height)
    off_axis = np.abs(steps).sum() - abs(height) - abs(width)
    if height <= 0 or width <= 0 or off_axis > 1e-6 * abs(side):
        raise ValueError(f"'{layer.name}' is rotated, sheared or flipped: undo its transform first")
    if abs(width / height - 1) > SQUARE_TOLERANCE:
        raise ValueError(
            f"'{layer.name}' has pixels of {height:g} x {width:g}: resample it to square pixels"
        )
    side = _exact(side, side)
    y, x = (_exact(float(c) - side / 2, side) for c in origin[-2:])
    unit, um_per_unit = _unit_of(layer)
    rows, cols = layer.data.shape[len(channel.index) :][:2]
    return Grid(side, (y, x), (int(rows), int(cols)), unit, um_per_unit, str(layer.name))


def _exact(value: float, side: float) -> float:
    """Drop what the layer's transform added in rounding: less than a billionth of a pixel."""
    return round(value, 9 - math.floor(math.log10(side)))


def _unit_of(layer: Layer) -> tuple[str, float | None]:
    y_unit, x_unit = layer.units[-2:]
    if y_unit != x_unit:
        raise ValueError(
            f"'{layer.name}' is measured in {y_unit} and {x_unit}: give both axes one unit"
        )
    if not x_unit.is_compatible_with("micrometer"):
        return str(x_unit), None
    return str(x_unit), float((1.0 * x_unit).to("micrometer").magnitude)


def stated_pixel_size(grid: Grid) -> float | None:
    """Return um per pixel as the layer states it, or None where it says nothing.

    A scale without a unit is read as um, which is what readers that drop units mean by it.
    """
    if grid.um_per_unit is not None:
        return grid.side * grid.um_per_unit
    return None if np.isclose(grid.side, 1.0) else grid.side


def units_ratio(grid: Grid, other: Grid, sized_here: bool = False) -> float:
    """Return how many units of `grid` one unit of `other` is, as napari shows them side by side.

    `sized_here`: whether `grid` would be given the pixel size that is entered.

    Raises
    ------
    ValueError
        If one is measured in a length and the other is not: napari then aligns them by number.
    """
    if (grid.um_per_unit is None) != (other.um_per_unit is None):
        bare, placed = (grid, other) if grid.um_per_unit is None else (other, grid)
        here = "enter its pixel size above, or " if sized_here and bare is grid else ""
        raise ValueError(
            f"'{bare.layer}' is measured in {bare.unit}, '{placed.layer}' in {placed.unit}: {here}"
            "type in napari's console, for pixels of 0.69 um, "
            f"layer = viewer.layers[{bare.layer!r}]; layer.scale = (0.69, 0.69); "
            'layer.units = ("um", "um")'
        )
    return (other.um_per_unit or 1.0) / (grid.um_per_unit or 1.0)


def length_ratio(layer: Layer, other: Layer) -> float:
    """Return how many units of `layer` one unit of `other` is: 1 unless both are lengths."""
    sizes = [_unit_of(each)[1] for each in (layer, other)]
    return 1.0 if sizes[0] is None or sizes[1] is None else sizes[1] / sizes[0]


def um_per(world: World, layer: Layer) -> float:
    """Return how many um one unit of `layer` is where napari shows it in that world."""
    um_per_unit = _unit_of(layer)[1]
    # Where either is no length, napari aligns the two by number.
    lengths = um_per_unit is not None and (layer.units[-1] * 1.0).is_compatible_with(world.units)
    return float(um_per_unit) if lengths and um_per_unit is not None else world.um_per_unit


def request_channels(
    channels: Mapping[str, Channel], pixel_size_um: float, names: Sequence[str] | None = None
) -> SlideRequest:
    """Resolve picked channels by role, the pixels of the first being `pixel_size_um` wide.

    `names` are what people call the roles.

    Raises
    ------
    ValueError
        In one sentence, if they cannot be used together.
    """
    _check_different(list(channels.values()), list(names or channels))
    grids = {role: grid_of(channel) for role, channel in channels.items()}
    first, *others = channels
    ratios = {
        role: units_ratio(grids[first], grid, sized_here=True) for role, grid in grids.items()
    }
    for role in others:
        if not grids[first].overlaps(grids[role], ratios[role]):
            raise ValueError(
                f"'{channels[first].layer.name}' and '{channels[role].layer.name}' do not overlap: "
                "move one of them (Layer > translate)"
            )
    if not pixel_size_um > 0:
        raise ValueError("Enter the pixel size: this layer states none")
    um_per_unit = pixel_size_um / grids[first].side
    um = {role: um_per_unit * ratio for role, ratio in ratios.items()}
    return SlideRequest(
        name=str(channels[first].layer.name),
        planes={role: planes(channel) for role, channel in channels.items()},
        pixel_sizes_um={role: grid.side * um[role] for role, grid in grids.items()},
        origins_um={
            role: (grid.corner[0] * um[role], grid.corner[1] * um[role])
            for role, grid in grids.items()
        },
        world=World(um_per_unit, grids[first].unit),
        sources={role: LayerSource.of(channel) for role, channel in channels.items()},
    )


def _check_different(channels: Sequence[Channel], names: Sequence[str]) -> None:
    keys = [(channel.layer, channel.index, channel.rgb) for channel in channels]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            one, other = names[keys.index(key)], names[i]
            raise ValueError(
                f"{one[:1].upper()}{one[1:]} and {other} are the same channel: pick different ones"
                f"{_how_to_split(channels[i])}"
            )


def _how_to_split(channel: Channel) -> str:
    """Say how the stains of a layer become channels, where it has several axes that may be it."""
    leading = channel.layer.data.shape[: len(channel.index)]
    if channel.axis is not None or sum(size > 1 for size in leading) < 2:
        return ""
    layer = channel.layer.name
    return f". If '{layer}' holds several stains, right-click it in the layer list: Split Stack"


def planes(channel: Channel) -> list[Any]:
    """Return the channel's pyramid, finest first, lazy where the layer is lazy."""
    levels = channel.layer.data if channel.layer.multiscale else [channel.layer.data]
    return [_plane(level, channel) for level in levels]


def _plane(level: Any, channel: Channel) -> Any:
    if not isinstance(level, np.ndarray):
        import dask.array as da  # late: it takes a third of the time in which a widget opens

        if not isinstance(level, da.Array):
            level = da.from_array(level, name=False)  # type: ignore[no-untyped-call]
    plane = level[channel.index] if channel.index else level
    return plane if channel.rgb is None else plane[..., channel.rgb]
