"""Which channels could be the vessels, which the nuclei, which the target.

1. Every Image layer offers its channels: a plain image one, a multichannel image one per channel,
   an RGB picture its red, green and blue. Of a stack, `slices` picks the plane.
2. A short leading axis that nobody named could hold channels as well as planes of a stack. Both are
   offered: the layer itself, of which the slider picks a plane, and every plane as a channel.
3. A role is guessed from the layer's name, else from its colour; a name that speaks for one role is
   never taken for the other because of its colour. Channels of one layer share both, so that
   nothing speaks for either of them: a person has to pick. So it is with a colour picture whose
   name says nothing, but for nuclei: those are blue by custom.
4. What was added last wins a tie, because that is what the analyst is looking at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_damm.util.stain_names import USUAL_NAMES, tells

if TYPE_CHECKING:
    from napari.layers import Image, Layer

RESULT_KEY = "napari_damm"
MAX_CHANNELS = 10  # a longer leading axis is a z-stack or a time series, not a set of stains
RGB_NAMES = ("red", "green", "blue")
UNKNOWN = "gray"  # the colour of a channel that is neither vessels nor nuclei
STACK_AXES = ("z", "t", "depth", "time")
CHANNEL_AXES = ("c", "channel", "channels")


@dataclass(frozen=True)
class Role:
    """A part that a channel plays for the model, and what gives it away."""

    words: tuple[str, ...]
    colour: str


VESSELS = Role(USUAL_NAMES["vessels"], "green")
NUCLEI = Role(USUAL_NAMES["nuclei"], "blue")
TARGET = Role(USUAL_NAMES["target"], "inferno")  # as the sample shows nanoparticles


@dataclass(frozen=True)
class Channel:
    """One plane (y, x) of an Image layer: `index` along its leading axes, or `rgb` component.

    `axis` is the leading axis that holds the channels, None where the layer is one channel. Along
    any other axis, `index` is chosen by the viewer's sliders (see `slices`).
    """

    layer: Image
    index: tuple[int, ...] = ()
    rgb: int | None = None
    axis: int | None = None

    @property
    def label(self) -> str:
        """What the picker shows: the layer, after the channel where it has several.

        The channel comes first because pickers cut long names off at their end.
        """
        if self.rgb is not None:
            return f"{RGB_NAMES[self.rgb]} · {self.layer.name}"
        if self.axis is not None:
            return f"channel {self.index[self.axis]} · {self.layer.name}"
        return str(self.layer.name)

    @property
    def colour(self) -> str:
        """The colour that it is shown in, in lower case ("green", "bop blue", ...)."""
        if self.rgb is not None:
            return RGB_NAMES[self.rgb]
        return str(self.layer.colormap.name).lower()


def channels_of(layers: Iterable[Layer]) -> list[Channel]:
    """List every channel that could play a role, in layer order; results are no inputs."""
    from napari.layers import Image

    return [
        channel
        for layer in layers
        if isinstance(layer, Image) and RESULT_KEY not in layer.metadata
        for channel in _channels_of_layer(layer)
    ]


def _channels_of_layer(layer: Image) -> list[Channel]:
    if layer.rgb:
        leading = layer.data.ndim - 3
        return [Channel(layer, (0,) * leading, rgb) for rgb in range(len(RGB_NAMES))]
    leading = tuple(int(size) for size in layer.data.shape[:-2])
    whole = Channel(layer, (0,) * len(leading))
    axis = channel_axis(leading, layer.axis_labels)
    if axis is None:
        return [whole]
    channels = [
        Channel(layer, tuple(c if a == axis else 0 for a in range(len(leading))), axis=axis)
        for c in range(leading[axis])
    ]
    named = layer.axis_labels[axis].lower() in CHANNEL_AXES
    return channels if named else [whole, *channels]


def channel_axis(leading_shape: Sequence[int], labels: Sequence[str]) -> int | None:
    """Return the leading axis that holds channels, or could, or None.

    It is the one called so; else the only one longer than one could, if it is short and not called
    z or t.
    """
    axes = [a for a, size in enumerate(leading_shape) if size > 1]
    named = [a for a in axes if labels[a].lower() in CHANNEL_AXES]
    if len(named) == 1:
        return named[0]
    if len(axes) != 1 or leading_shape[axes[0]] > MAX_CHANNELS:
        return None
    return None if labels[axes[0]].lower() in STACK_AXES else axes[0]


def roles_of(modalities: Sequence[str]) -> tuple[Role, ...]:
    """Return the roles of a model whose card names its modalities so: primary, secondary, target.

    Fewer names give fewer roles.
    """
    return tuple(
        replace(role, words=(*role.words, name.lower()))
        for role, name in zip((VESSELS, NUCLEI, TARGET), modalities, strict=False)
    )


def guess(role: Role, others: Sequence[Role], channels: Sequence[Channel]) -> Channel | None:
    """Return the channel that most likely plays `role`, or None where nothing speaks for one."""
    scored = [(_score(role, others, channel), i) for i, channel in enumerate(channels)]
    score, i = max(scored, default=(0, 0))
    return channels[i] if score > 0 else None


def stain_colour(name: str) -> str:
    """Return the colour in which a stain is shown: vessels green, nuclei blue, any other grey."""
    for role in (VESSELS, NUCLEI):
        if any(tells(name.lower(), word) for word in role.words):
            return role.colour
    return UNKNOWN


def _score(role: Role, others: Sequence[Role], channel: Channel) -> int:
    if channel.axis is not None:
        return 0
    name = channel.layer.name.lower()
    named = any(tells(name, word) for word in role.words)
    named_other = any(tells(name, word) for other in others for word in other.words)
    coloured = role.colour in channel.colour
    if named_other and not named:
        return 0
    if channel.rgb is not None and not named and role.colour != NUCLEI.colour:
        coloured = False  # nuclei are shown in blue by custom; green may be anything
    # A picture called "cd31_dapi" names both: only its colours can tell them apart.
    return int(coloured) if named == named_other else 2 + int(coloured)
