"""Which sections a model, or one that it was made from, has learnt from already.

1. A card lists the sections of its training, each with its identity; those of the model that it
   was made from stand below it, under `base`.
2. Pictures are compared by content: files by the hash of their bytes and the image in them, layers
   by the hash of their pixels, either by some of their pixels, simulated sections by preset, seed
   and size. Names, places, planes and regions do not count: a copy is the same picture, and so is
   another part of it, and what was saved anew without loss.
3. A card lists a few dozen sections at most. Where it learnt from more, and not from simulated
   ones, nobody can tell of a section that is not listed; `Learnt.unlisted` says so.

A picture that was compressed anew, scaled or cropped is another one here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from napari_damm.dataset import Section
from napari_damm.slide import Raster
from napari_damm.slide.identity import identify_arrays
from napari_damm.util.text import count

ROLES = ("vessels", "nuclei")
SIMULATED = ("preset", "seed", "size")
ALL_PIXELS = "all pixels"
NAMED = 3
DEEPEST = 100
"""Models that were made from each other, one after the other."""


@dataclass(frozen=True)
class Learnt:
    """What a model has learnt from, as far as its card says.

    `entries` are those of sections on a card: their `identity`, and `pixels` where it has them.
    `unlisted` is how many more sections of images there were.
    """

    model: str
    entries: tuple[Mapping[str, Any], ...]
    unlisted: int = 0

    @classmethod
    def of_card(cls, model: str, card: Mapping[str, Any]) -> Learnt:
        """Read what a card says (step 1); what is no such list says nothing."""
        found: list[Mapping[str, Any]] = []
        unlisted = 0
        for data in _trainings(card):
            listed = data.get("sections")
            entries = listed if isinstance(listed, Sequence) else ()
            found += [
                each
                for each in entries
                if isinstance(each, Mapping) and isinstance(each.get("identity"), Mapping)
            ]
            number = data.get("number_of_sections")
            if isinstance(number, int) and data.get("kind") != "simulated":
                unlisted += max(0, number - len(entries))
        return cls(model, tuple(found), unlisted)

    def knows(self, section: Section) -> bool:
        """Return whether the model learnt from the picture that a section is of (step 2)."""
        judged = _Judged(section)
        return any(judged.is_of(known) for known in self.entries)

    def said_of(self, known: Sequence[Section]) -> str:
        """Return what is to be said of sections that the model learnt from."""
        names = [section.name for section in known]
        few = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        parts = all(section.roi or section.region for section in known)
        what = f"{count(len(known), 'part')} of pictures" if parts else count(len(known), "section")
        return (
            f"{self.model} is judged on {what} that it, or the model that it was made from, "
            f"learnt from ({few}): the numbers say what it remembers, not what it makes of new "
            "sections"
        )

    @property
    def said_of_unlisted(self) -> str:
        """What is to be said where the card does not list all sections."""
        return (
            f"the card of {self.model} does not list {self.unlisted} of the sections that it "
            "learnt from: whether it is judged on one of those cannot be told"
        )


def _trainings(card: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    data = card.get("training_data")
    for _ in range(DEEPEST):
        if not isinstance(data, Mapping):
            return
        yield data
        data = data.get("base")


class _Judged:
    """A section that may be of a picture that is known."""

    def __init__(self, section: Section) -> None:
        self.section, self.identity = section, section.identity

    @cached_property
    def _pixels(self) -> dict[str, Any]:
        """What its images would be known by as layers. Reads them."""
        return identify_arrays(self._rasters)

    @property
    def _rasters(self) -> dict[str, Raster]:
        slide = self.section.slide
        return dict(zip(ROLES, (slide.vessels, slide.nuclei), strict=True))

    def is_of(self, entry: Mapping[str, Any]) -> bool:
        """Return whether both its images are those of an entry: a blank one is like others."""
        known, pixels = entry["identity"], entry.get("pixels")
        if "simulated" in (known.get("kind"), self.identity.get("kind")):
            return all(known.get(key) == self.identity.get(key) for key in ("kind", *SIMULATED))
        if pixels and pixels == self.section.pixels:
            return True
        return all(self._has(role, known.get(role)) for role in ROLES)

    def _has(self, role: str, known: Any) -> bool:
        own = self.identity[role]
        if not isinstance(known, Mapping):
            return False
        if known.get("hashed") == ALL_PIXELS and "sha256" not in own:  # learnt from as a layer
            same_shape = known.get("shape") == list(self._rasters[role].shape)
            return same_shape and bool(known.get("sha256") == self._pixels[role]["sha256"])
        if known.get("image") != own.get("image"):
            return False
        for hashed in ("sha256_content", "sha256"):
            if hashed in known and hashed in own:
                return bool(known[hashed] == own[hashed])
        ends = ("size", "sha256_ends")  # all that cards of before knew
        return all(name in own and known.get(name) == own[name] for name in ends)
