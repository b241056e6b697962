"""What an analysis of open layers needs, frozen at the click.

1. Vessels, particles and nuclei are placed in one world, as Predict does.
2. Vessels and nuclei may be Labels layers: those are taken as they are drawn.
3. The areas of a Shapes layer, or the numbers of a Labels layer, are the regions.
4. In the worker they become a `ParticleMap`; for the live preview, a coarse one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.layer_slides import SlideRequest
from napari_damm.widgets.viewer.marked_region import MarkedLabels, MarkedShapes

if TYPE_CHECKING:
    from napari_damm.analysis.config import AnalyzeConfig
    from napari_damm.analysis.particle_map import LabelImage, ParticleMap
    from napari_damm.analysis.regions import Region
    from napari_damm.analysis.report import AnalysisReport
    from napari_damm.events import Event
    from napari_damm.slide import Slide
    from napari_damm.store import Result

PREVIEW_PX = 600
LABELS = {"vessels": "vessel_labels", "nuclei": "nucleus_labels"}
"""The field of a `ParticleMap` for the labels of a role."""


@dataclass(frozen=True)
class AnalyzeRequest:
    """The layers, where numbers are wanted, and the settings.

    `record` is the job record of a predicted map, empty for an imaged one; `result` is what was
    predicted, where it is at hand: it tells which pixels were, and which to trust. `drawn` are the
    roles that are labels. `shown` tells the planes that are picked from others.
    """

    slide: SlideRequest
    config: AnalyzeConfig
    marked: MarkedShapes | MarkedLabels | None = None
    region_name: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    result: Result | None = None
    drawn: frozenset[str] = frozenset()
    shown: tuple[Any, ...] = ()

    def events(self) -> Iterator[Event]:
        """Measure; slow, for the worker."""
        from napari_damm import api

        layers = api.MapLayers(self.section(), tuple(self.regions()))
        yield from api.analyze(layers, self.config)

    def section(self, preview: bool = False) -> ParticleMap:
        """Return the map; coarse for a preview, so that it is measured in a moment."""
        from napari_damm.analysis.predicted import predicted_fields
        from napari_damm.analysis.sources import sample_rasters, slide_map
        from napari_damm.analysis.unseen import cells_beyond
        from napari_damm.slide import slide_from_arrays

        asked = self.slide
        # What is drawn is no image; where the vessels are, tissue is what the others show.
        shown = {role: role for role in asked.planes if role not in self.drawn}
        shown.setdefault("vessels", "particles")
        slide = slide_from_arrays(
            {role: asked.planes[of] for role, of in shown.items()},
            {role: asked.pixel_sizes_um[of] for role, of in shown.items()},
            {role: asked.origins_um[of] for role, of in shown.items()},
            nuclei="nuclei" if "nuclei" in shown else "particles",
            name=asked.name,
        )
        particles = slide.channel("particles")
        compared = "imaged" in asked.planes and not preview
        more = {"imaged": slide.channel("imaged")} if compared else {}
        coarsest = max(particles.extent_um) / PREVIEW_PX if preview else 0.0
        fields: dict[str, Any] = {"name": self.name, "record": self.record}
        fields |= {LABELS[role]: self._labels(role) for role in self.drawn}
        if self.result is not None:
            trusted = self.config.trusted_uncertainty
            fields |= predicted_fields(self.result, slide, particles, trusted)
            if not preview:
                fields["samples"] = sample_rasters(self.result, particles.origin)
        if self.record and not preview:
            fields["about"] = {"caution": self._other_pictures(slide)}
        section = slide_map(slide, particles, more, least_um=coarsest, **fields)
        if section.vessel_labels is None:
            return section
        side = asked.pixel_sizes_um["vessels"]
        height, width = asked.planes["vessels"][0].shape
        beyond = cells_beyond(section, asked.origins_um["vessels"], (height * side, width * side))
        if not beyond.any():
            return section
        return replace(section, unseen={**section.unseen, "vessel_labels": beyond})

    @property
    def name(self) -> str:
        """What tables call the section: its file, or else its vessels layer."""
        files = [
            of.path for role in ("particles", "vessels") if (of := self.slide.sources.get(role))
        ]
        return next((Path(file).name for file in files if file), self.slide.name)

    def _other_pictures(self, slide: Slide) -> str:
        """Say which layers are not those that the map was predicted from, or do not lie so."""
        from napari_damm.analysis.shown_pictures import moved_maps, other_pictures

        images = {"vessels": slide.vessels, "nuclei": slide.nuclei}
        shown = {r: i for r, i in images.items() if r in self.slide.planes and r not in self.drawn}
        files = {role: source.path for role, source in self.slide.sources.items()}
        said = other_pictures(self.record, shown, files)
        if said or self.result is None:
            return said
        now = self.slide.origins_um["particles"]
        return moved_maps(self.result.record, shown, now, self.result.origin)

    def _labels(self, role: str) -> LabelImage:
        from napari_damm.analysis.particle_map import LabelImage

        side = self.slide.pixel_sizes_um[role]
        return LabelImage(self.slide.planes[role][0], (side, side), self.slide.origins_um[role])

    def regions(self) -> Iterator[Region]:
        """Yield what is marked, each area a region."""
        from napari_damm.analysis.particle_map import LabelImage
        from napari_damm.analysis.regions import Outline, labelled_regions

        if isinstance(self.marked, MarkedShapes):
            for number, area in enumerate(self.marked.areas, 1):
                yield Outline(f"{self.region_name} {number}", (area,))
        elif self.marked is not None:
            side = self.marked.pixel_size_um
            labels = LabelImage(self.marked.labels, (side, side), self.marked.corner_um)
            found = list(labelled_regions(labels, self.region_name))
            if not found:
                raise ValueError(f"'{self.region_name}' marks nothing: paint labels, or pick All")
            yield from found


def written(report: AnalysisReport, folder: Path) -> Iterator[Event]:
    """Write a report; in the worker's thread."""
    from napari_damm.analysis.writing import write
    from napari_damm.events import Finished, Preparing

    yield Preparing("writing the report", 0, 1)
    yield Finished(write(report, folder), 0.0)
