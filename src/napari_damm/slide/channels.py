"""Which channel is meant: by name, by number, or by what such channels are usually called.

1. A name given is looked for in any case; digits that are no name are a number, from 0.
2. Nothing given: the only channel of a file, the one with a usual name, or the other one of two;
   of an RGB picture of one stain the colour that it is in.
3. What stays open is asked for, listing the channels there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_damm.slide.images import find_named
from napari_damm.slide.raster import RGB, ImageFile
from napari_damm.util.advice import Advice
from napari_damm.util.stain_names import USUAL_NAMES, tells

LISTED_CHANNELS = 12
NEARLY_ALL = 0.8
LOOKED_AT_PX = 2048


def find_channel(names: Sequence[str], wanted: str | int, where: str) -> int:
    """Return the number of the channel `wanted`, a name in any case or a number from 0.

    Raises
    ------
    ValueError
        If there is none, listing those there are, or several of that name.
    """
    return find_named(names, wanted, where, "channel", listed(names))


def guess_channel(names: Sequence[str], role: str) -> int | None:
    """Return the channel with a usual name of a role (a key of `USUAL_NAMES`), if just one has."""
    for usual in USUAL_NAMES[role]:
        matches = [index for index, name in enumerate(names) if tells(name.casefold(), usual)]
        if matches:
            # "nanoparticles" is meant where there is "nanoparticles_true" as well.
            plain = [i for i in matches if names[i].casefold().removesuffix("s") == usual]
            chosen = matches if len(matches) == 1 else plain
            return chosen[0] if len(chosen) == 1 else None
    if role == "nuclei" and tuple(names[:3]) == RGB[:3]:
        return 2  # Nuclear stains are blue, and shown so; vessels have no such custom.
    return None


def only_colour(file: ImageFile) -> int | None:
    """Return the colour of an RGB picture that holds nearly all its signal, None if none does.

    Scanners save one stain as a picture in one colour. Signal is what lies above the picture's
    darkest percent, seen at its coarsest level.
    """
    if tuple(file.channels[:3]) != RGB[:3]:
        return None
    signal = []
    for levels in file.planes[:3]:
        coarsest = levels[-1]
        height, width = (min(n, LOOKED_AT_PX) for n in coarsest.shape)
        top, left = (coarsest.shape[0] - height) // 2, (coarsest.shape[1] - width) // 2
        pixels = np.asarray(coarsest[top : top + height, left : left + width], np.float64)
        signal.append(float((pixels - np.percentile(pixels, 1)).clip(0).mean()))
    brightest = int(np.argmax(signal))
    return brightest if signal[brightest] > NEARLY_ALL * sum(signal) > 0 else None


def choose_channels(
    main: ImageFile, other: ImageFile, vessels: str | int | None, nuclei: str | int | None
) -> tuple[int, int]:
    """Return the numbers of the vessels' and of the nuclei's channel, each in its file."""
    one_file = other is main
    if one_file and len(main.channels) == 1:
        raise ValueError(
            Advice(f"{main.path} has one channel only", "give {nuclei} with the nuclei")
        )
    found: dict[str, int | None] = {}
    for role, file, wanted in (("vessels", main, vessels), ("nuclei", other, nuclei)):
        if wanted is not None:
            found[role] = find_channel(file.channels, wanted, str(file.path))
        else:
            found[role] = _unsaid(file, role, one_file)
    if one_file and len(main.channels) == 2:
        for role, partner in (("vessels", "nuclei"), ("nuclei", "vessels")):
            index = found[partner]
            if found[role] is None and index is not None:
                found[role] = 1 - index
    for role, file in (("vessels", main), ("nuclei", other)):
        if found[role] is None:
            raise unclear_channel(file, role)
    v, n = found["vessels"], found["nuclei"]
    assert v is not None
    assert n is not None
    if one_file and v == n:
        raise ValueError(
            f"vessels and nuclei are the same channel {main.channels[v]!r} of {main.path}: give "
            f"two of {listed(main.channels)}"
        )
    return v, n


def unclear_channel(file: ImageFile, role: str) -> ValueError:
    """Say that none of a file's channels is known by its name to show a role."""
    return ValueError(
        Advice(
            f"cannot tell which channel of {file.path} shows the {role}",
            f"give {{{role}_channel}}, one of {{channels}}",
            channels=listed(file.channels),
        )
    )


def _unsaid(file: ImageFile, role: str, one_file: bool) -> int | None:
    """Return the channel of a role about which nothing was said, None if it cannot be told."""
    if len(file.channels) == 1:
        return 0
    colour = None if one_file else only_colour(file)
    return guess_channel(file.channels, role) if colour is None else colour


def listed(names: Sequence[str]) -> str:
    """List channels by number and name, the first dozen of them."""
    shown = [f"{index}: {name}" if name != str(index) else name for index, name in enumerate(names)]
    more = len(shown) - LISTED_CHANNELS
    return ", ".join(shown[:LISTED_CHANNELS]) + (f" and {more} more" if more > 0 else "")
