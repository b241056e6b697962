"""Which channels could be the vessels, which the nuclei, which the target.

1. Every Image layer offers its channels: a plain image one, a multichannel image one per channel,
   an RGB picture its red, green and blue. Of a stack, `slices` picks the plane.
2. A role is guessed from the channel's name, else from its colour; a name that speaks for one
   role is never taken for the other because of its colour.
3. What was added last wins a tie, because that is what the analyst is looking at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Image, Layer

RESULT_KEY = "napari_damm"
MAX_CHANNELS = 10  # a longer leading axis is a z-stack or a time series, not a set of stains
RGB_NAMES = ("red", "green", "blue")
STACK_AXES = ("z", "t", "depth", "time")
CHANNEL_AXES = ("c", "channel", "channels")


@dataclass(frozen=True)
class Role:
    """A part that a channel plays for the model, and what gives it away."""

    words: tuple[str, ...]
    colour: str


# The words are those of napari_damm.slide, which is too heavy to import when a widget opens.
VESSELS_WORDS = "vessel cd31 pecam endomucin emcn cd34 ve-cadherin vwf endothel vascul lectin"
NUCLEI_WORDS = "nuclei nucleus nuclear dapi hoechst draq5 sytox"
TARGET_WORDS = "nanoparticle quantum qd particle tracer target"
VESSELS = Role(tuple(VESSELS_WORDS.split()), "green")
NUCLEI = Role(tuple(NUCLEI_WORDS.split()), "blue")
TARGET = Role(tuple(TARGET_WORDS.split()), "inferno")  # as the sample shows nanoparticles


@dataclass(frozen=True)
class Channel:
    """One plane (y, x) of an Image layer: `index` along its leading axes, or `rgb` component."""

    layer: Image
    index: tuple[int, ...] = ()
    rgb: int | None = None

    @property
    def label(self) -> str:
        """What the picker shows: the layer, after the channel where it has several.

        The channel comes first because pickers cut long names off at their end.
        """
        if self.rgb is not None:
            return f"{RGB_NAMES[self.rgb]} · {self.layer.name}"
        leading = tuple(int(size) for size in self.layer.data.shape[: len(self.index)])
        axis = channel_axis(leading, self.layer.axis_labels)
        if axis is not None:
            return f"channel {self.index[axis]} · {self.layer.name}"
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
    leading_shape = tuple(int(size) for size in layer.data.shape[:-2])
    axis = channel_axis(leading_shape, layer.axis_labels)
    if axis is None:
        return [Channel(layer, (0,) * len(leading_shape))]
    return [
        Channel(layer, tuple(c if a == axis else 0 for a in range(len(leading_shape))))
        for c in range(leading_shape[axis])
    ]


def channel_axis(leading_shape: Sequence[int], labels: Sequence[str]) -> int | None:
    """Return the leading axis that holds channels, or None.

    It is the one called so, else the only one longer than one if it is short and not called z or t.
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
        if any(word in name.lower() for word in role.words):
            return role.colour
    return "gray"


def _score(role: Role, others: Sequence[Role], channel: Channel) -> int:
    name = channel.layer.name.lower()
    named = any(word in name for word in role.words)
    named_other = any(word in name for other in others for word in other.words)
    coloured = role.colour in channel.colour
    if named_other and not named:
        return 0
    # A picture called "cd31_dapi" names both: only its colours can tell them apart.
    return int(coloured) if named == named_other else 2 + int(coloured)
