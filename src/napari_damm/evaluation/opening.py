"""From sources to measured sections, where one that is unusable does not stop the others.

Sections of files are opened all at once, before anything is computed: a wrong name or a text file
ends the evaluation there. Simulated ones take memory, and are drawn one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import get_args

from napari_damm.dataset import Field, Section, SimulatedSource, Source, open_sections, survey
from napari_damm.dataset.sources import ROLES
from napari_damm.util.errors import is_disk_full

Surveyed = tuple[str, Field | Exception]
"""A section's name, and the section as measured or why it cannot be."""


def as_sources(data: Source | Sequence[Source]) -> list[Source]:
    """Return sources as a list.

    Raises
    ------
    ValueError
        If there are none, or something else is among them.
    """
    given = data if isinstance(data, list | tuple) else [data]
    found = [each for each in given if isinstance(each, get_args(Source))]
    for each in given:
        if each not in found:
            raise ValueError(
                "sections come from a FolderSource, SlideSource, SimulatedSource or SectionSource, "
                f"got {each!r:.100}"
            )
    if not found:
        raise ValueError("there are no sections: give one source of them or more")
    return found


def open_all(sources: Sequence[Source]) -> tuple[Iterator[list[Section]], int]:
    """Return the sections in groups that are measured together, and how many there are.

    Raises
    ------
    ValueError, OSError
        As `open_sections`.
    """
    groups: list[Iterable[list[Section]]] = []
    total = 0
    for source in sources:
        found = open_sections(source, evaluation=True)
        if isinstance(source, SimulatedSource):
            first = next(found)  # Seeds and sizes are checked when it is drawn: now.
            groups.append(_one_by_one(first, found))
            total += source.sections
        else:
            opened = list(found)
            groups.append([opened])
            total += len(opened)
    return _with_own_names(chain.from_iterable(groups)), total


def survey_all(sections: Sequence[Section], model_um: float | None) -> Iterator[Surveyed]:
    """Measure sections; of those that cannot be, say why.

    Sections of a folder may share intensity limits: where one fails, the others are measured again
    without it.
    """
    left = list(sections)
    fields: list[Field] = []
    while len(fields) < len(left):
        fields = []
        try:
            for field in survey(left, model_um, not_blank=ROLES):
                fields.append(field)
        except (ValueError, OSError) as error:
            if is_disk_full(error):
                raise
            yield left.pop(len(fields)).name, error
    for field in fields:
        yield field.section.name, field


def _one_by_one(first: Section, others: Iterator[Section]) -> Iterator[list[Section]]:
    for section in chain([first], others):
        yield [section]


def _with_own_names(groups: Iterable[list[Section]]) -> Iterator[list[Section]]:
    """Tell sections of one name apart, such as files in several folders, by a number."""
    seen: dict[str, int] = {}
    for group in groups:
        named = []
        for section in group:
            count = seen[section.name] = seen.get(section.name, 0) + 1
            name = section.name if count == 1 else f"{section.name} ({count})"
            named.append(replace(section, name=name))
        yield named
