"""Paired images to train and to judge on: from layers, folders, slides and the simulator.

1. `sources`: what was asked for, as frozen values.
2. `sections`: three images of one field each, opened lazily.
3. `fields`: sections on the model's grid, with their tissue and intensity limits.
4. `patches`: which windows of them train and which validate, kept apart by blocks of tissue.
5. `views`: augmented readings of a patch.
"""

from napari_damm.dataset.fields import Field, survey
from napari_damm.dataset.sections import Section, open_sections
from napari_damm.dataset.sources import (
    ROLES,
    FolderSource,
    Region,
    SectionSource,
    SimulatedSource,
    SlideSource,
    Source,
)

__all__ = [
    "ROLES",
    "Field",
    "FolderSource",
    "Region",
    "Section",
    "SectionSource",
    "SimulatedSource",
    "SlideSource",
    "Source",
    "open_sections",
    "survey",
]
