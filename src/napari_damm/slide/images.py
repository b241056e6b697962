"""Which image of a file is meant: a slide scanner's label, an overview, or one of several fields.

1. A file may hold several images. One that is named, or numbered from 0, is taken.
2. Otherwise the largest, if it is much larger than every other: labels, macros and overviews are
   small.
3. What stays open is asked for, listing the images there are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_damm.util.advice import Advice

MUCH_LARGER = 4
"""Times the pixels of the second largest image, for the largest to be meant without saying."""
LISTED_IMAGES = 8


@dataclass(frozen=True)
class ImageChoice:
    """Image `number` (from 0) of those that a file holds, by `names`."""

    number: int = 0
    names: tuple[str, ...] = ("",)

    def __str__(self) -> str:
        """Say which it is, where there was a choice; nothing where there was none."""
        if len(self.names) == 1:
            return ""
        name = self.names[self.number]
        return f"image {self.number} of {len(self.names)}" + (f" ({name})" if name else "")


ONLY_IMAGE = ImageChoice()


def choose_image(
    path: Path,
    names: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    wanted: str | int | None,
) -> ImageChoice:
    """Return the image that is meant.

    Parameters
    ----------
    path
        The file, for messages.
    names, sizes
        Of each image its name ("" where it has none) and its (height, width) in pixels.
    wanted
        A name (in any case) or a number from 0; None where nothing was said.

    Raises
    ------
    ValueError
        If there is no such image, or several could be meant.
    """
    names = tuple(names)
    if wanted is not None:
        return ImageChoice(
            find_named(names, wanted, str(path), "image", _listed(names, sizes)), names
        )
    areas = [math.prod(size) for size in sizes]
    largest = max(range(len(areas)), key=areas.__getitem__)
    if any(MUCH_LARGER * area > areas[largest] for k, area in enumerate(areas) if k != largest):
        raise ValueError(
            Advice(
                f"{path} holds {len(names)} images of similar size",
                "give {image}, one of {images}",
                images=_listed(names, sizes),
            )
        )
    return ImageChoice(largest, names)


def find_named(names: Sequence[str], wanted: str | int, where: str, what: str, choices: str) -> int:
    """Return the number of a channel or image; `what` and `choices` are words for the errors.

    Raises
    ------
    ValueError
        If there is none, listing `choices`, or several of that name.
    """
    if isinstance(wanted, str):
        key = wanted.strip().casefold()
        matches = [index for index, name in enumerate(names) if name.casefold() == key]
        if len(matches) > 1:
            raise ValueError(
                f"{where} has {len(matches)} {what}s called {wanted!r}: give its number, one of "
                f"{', '.join(map(str, matches))}"
            )
        # No picture has as many as nine digits count, and int() refuses thousands of them.
        number = int(key) if key.isdecimal() and len(key) < 9 else -1
        index = matches[0] if matches else number
    else:
        try:
            index = operator.index(wanted)  # 1.5 is no number of a channel
        except TypeError:
            raise ValueError(
                f"{what} of {where} must be a name or a whole number, got {wanted!r:.60}"
            ) from None
    if not 0 <= index < len(names):
        raise ValueError(f"no {what} {wanted!r} in {where}: choose one of {choices}")
    return index


def _listed(names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> str:
    shown = [
        f"{k}: {name or 'unnamed'} ({height} x {width} px)"
        for k, (name, (height, width)) in enumerate(zip(names, sizes, strict=True))
    ]
    more = len(shown) - LISTED_IMAGES
    return ", ".join(shown[:LISTED_IMAGES]) + (f" and {more} more" if more > 0 else "")
