"""Which sections of an evaluation show the same picture: they are no independent ones.

Pictures are compared by some of their pixels, or, where these say nothing, by their identities,
without names, places in the file system and channels: a copy is the same picture, and so is another
part of it, and what was saved anew without loss. What was compressed anew is another one here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from napari_damm.dataset import Section
from napari_damm.dataset.sections import without_names
from napari_damm.util.text import count

NAMED = 3


class Repeated:
    """The pictures seen so far."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def said_of(self, sections: Sequence[Section]) -> str:
        """Note sections; say which show a picture that was given before, "" where none does."""
        again: list[tuple[str, str]] = []
        for section in sections:
            known = section.pixels or without_names(section.identity)
            picture = json.dumps(known, sort_keys=True, default=str)
            first = self._seen.setdefault(picture, section.name)
            if first != section.name:
                again.append((section.name, first))
        if not again:
            return ""
        name, first = again[0]
        what = f"{name} shows the same picture as {first}"
        if len(again) > 1:
            few = ", ".join(each for each, _ in again[:NAMED])
            few += ", ..." if len(again) > NAMED else ""
            what = f"{count(len(again), 'section')} show pictures that were given before ({few})"
        return (
            f"{what}: the numbers count them as independent sections, and their intervals are "
            "narrower than they should be; give each picture once"
        )
