"""A section that is given twice would be trained on where its copy validates.

1. Sections of files and layers are compared with their regions: parts of one may be given.
2. Patches of folders are compared by what their files hold, whatever they are called. Blank ones
   are no copies of each other.
3. Of a few sections some pixels are compared, too: what was saved anew in another format is a copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from napari_damm.dataset import Section
from napari_damm.dataset.sections import without_names

ROLES = ("vessels", "nuclei")
FEW = 200
"""Sections whose pixels are read for this: more of them are patches, and would take too long."""


def refuse_copies(sections: Sequence[Section]) -> None:
    """Check that no section is there twice.

    Raises
    ------
    ValueError
        Naming the copy and what it is a copy of.
    """
    given: dict[str, Section] = {}
    pictures: dict[str, Section] = {}
    few = len(sections) <= FEW
    for section in sections:
        known = section.pixels if few else {}
        picture = _text(known or [without_names(section.identity.get(role)) for role in ROLES])
        other = pictures.setdefault(picture, section)
        if section.folder:
            key = f"{section.folder} {section.name}"
            in_folders = other is not section and not _blank(section)
        else:
            key = _text([known or without_names(section.identity), section.roi, section.use])
            in_folders = bool(other.folder) and not _blank(section)
        first = other if in_folders else given.get(key)
        if first is not None and section.region is None:
            raise ValueError(
                f"{_called(section)} is the same as {_called(first)}: give every section once, or "
                "the copy would be trained on where the other validates"
            )
        given.setdefault(key, section)


def _called(section: Section) -> str:
    return f"{section.name} in {section.folder}" if section.folder else section.name


def _blank(section: Section) -> bool:
    """Return whether both inputs of a section are of one value each."""
    planes = (section.slide.vessels.planes[-1], section.slide.nuclei.planes[-1])
    return all(np.ptp(np.asarray(plane[:, :])) == 0 for plane in planes)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
