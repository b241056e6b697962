"""Images that were given by mistake are told before a training learns from them.

A training takes whatever it is given: from channels that were swapped it makes a model of swapped
channels, and says so only by bad scores, a quarter of an hour later. So some sections, spread
evenly, are looked at as a prediction would (`trust.section`). That tissue is unusual is no reason
to say anything: for that one fine-tunes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_damm.dataset import Section
from napari_damm.events import Notice
from napari_damm.model_file.header import first_few
from napari_damm.slide import model_shape
from napari_damm.train.validation import evenly
from napari_damm.trust.section import look
from napari_damm.util.tiling import WINDOW

MOST_SECTIONS = 8
"""How many are looked at: each takes a fifth of a second of processor time or so."""


def told_of_mistakes(sections: Sequence[Section], card: Mapping[str, Any]) -> Iterator[Notice]:
    """Say which sections look as if their images were mistaken for others.

    Parameters
    ----------
    sections
        All that is learnt from. Those smaller than a window of the model are not looked at: too
        little is seen in them.
    card
        That of the model which the training starts from; without a word on which images it knows
        there is nothing to compare with.
    """
    large = [each for each in sections if min(_shape(each, card)) >= WINDOW]
    chosen = evenly(large, min(MOST_SECTIONS, len(large)))
    found: dict[str, list[str]] = {}
    for section in chosen:
        try:
            seen = look(section.slide, card)
        except (OSError, ValueError):  # the training will say so
            continue
        for mistake in seen.mistakes if seen else ():
            found.setdefault(mistake, []).append(section.name)
    for mistake, names in found.items():
        yield Notice(
            f"{mistake.rstrip('?')}: so it is in {len(names)} of {len(chosen)} sections that were "
            f"looked at ({first_few(names)}); the model would learn it so, stop if it is wrong",
            "warning",
        )


def _shape(section: Section, card: Mapping[str, Any]) -> tuple[int, int]:
    um = card.get("pixel_size_um")
    return model_shape(section.slide, float(um or section.slide.pixel_size_um))
