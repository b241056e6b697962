"""Of which layers the numbers below are, and whether those are still the ones that are picked.

Numbers stay where they are when another layer, slice, region or cut-off is picked, until they are
measured anew: nobody is to read them as those of what is picked now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.marked_region import MarkedShapes

if TYPE_CHECKING:
    from napari_damm.widgets.analyze.request import AnalyzeRequest

CHANGED = "; measured before something above was changed: click Analyze"


class MeasuredNote(Note):
    """Names what was measured; in red where something else is picked now."""

    def __init__(self) -> None:
        super().__init__("measured_of")
        self._of = ""
        self._choices: tuple[Any, ...] = ()
        self._areas: tuple[Any, ...] = ()

    def measured(self, request: AnalyzeRequest) -> None:
        """Remember what was measured."""
        self._of, self._choices = what_is_measured(request), choices_of(request)
        self._areas = areas_of(request)
        self.compare(request)

    def compare(self, request: AnalyzeRequest | None) -> None:
        """Say whether what is picked now was measured; None: nothing can be."""
        if not self._of:
            return
        if request is not None and choices_of(request) == self._choices:
            self.calm(f"Numbers of {self._of}")
        else:
            self.warn(f"Numbers of {self._of}{CHANGED}")

    def has_areas_of(self, request: AnalyzeRequest) -> bool:
        """Return whether a request has the very areas that were measured."""
        return bool(self._of) and areas_of(request) == self._areas


def what_is_measured(request: AnalyzeRequest) -> str:
    """Name the layers, and where of them."""
    titles = request.slide.titles
    where = f", in '{request.region_name}'" if request.region_name else ""
    return f"{titles['particles']} by the vessels of {titles['vessels']}{where}"


def choices_of(request: AnalyzeRequest) -> tuple[Any, ...]:
    """Return what tells a request from others: planes, places, settings and areas."""
    places = request.slide.pixel_sizes_um, request.slide.origins_um
    return request.shown, places, request.config, areas_of(request)


def areas_of(request: AnalyzeRequest) -> tuple[Any, ...]:
    """Return what tells the areas of a request from others."""
    marked = request.marked
    if isinstance(marked, MarkedShapes):
        return request.region_name, [area.tolist() for area in marked.areas]
    if marked is not None:
        return request.region_name, marked.pixel_size_um, marked.corner_um
    return ()
