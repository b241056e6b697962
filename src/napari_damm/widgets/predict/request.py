"""Everything that the analyst chose, frozen when Predict is clicked, and made into events.

A result that is resumed keeps the settings that it was begun with: those are in its record. Model,
image and device come from the widget; where they differ, the engine says what does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import FULL
from napari_damm.util.areas import Areas
from napari_damm.widgets.predict.destination import Unfinished
from napari_damm.widgets.run.gui_priority import Ready, load_what_is_slow, with_maps
from napari_damm.widgets.viewer.layer_slides import SlideRequest
from napari_damm.widgets.viewer.regions import MarkedPart, PaintedAreas

if TYPE_CHECKING:
    from napari_damm.api import PredictConfig
    from napari_damm.events import Event


@dataclass(frozen=True)
class PredictRequest:
    """One prediction, with `settings` of `PredictConfig`; without `out` it stays in memory.

    A preview shows the map alone, and makes room for the next. `focus` (y, x) in vessel pixels is
    where the analyst looks: what lies there comes first.
    """

    slide: SlideRequest
    model: Path
    settings: Mapping[str, Any]
    region: MarkedPart | None = None
    region_name: str | None = None
    out: Path | None = None
    begun: Unfinished | None = None
    preview: bool = False
    focus: tuple[float, float] | None = None

    def events(self) -> Iterator[Event | Ready]:
        """Start the prediction; slow, for the worker."""
        load_what_is_slow()
        from napari_damm import api

        slide, config = self.slide.slide(), self._config()
        if self.out is None:
            return with_maps(api.predict(slide, self.model, config))
        return with_maps(api.predict(slide, self.model, config, store=self.out, resume=True))

    def _config(self) -> PredictConfig:
        from napari_damm.api import PredictConfig

        if self.begun is None:
            return PredictConfig(**self.settings, **self._region(), focus=self.focus)
        # what older results do not state, and none where it is usual
        unstated = {"samples": 1, "views": 1, "precision": FULL, "compiled": False}
        record = {**unstated, **self.begun.record}
        names = ("steps", "seed", "gamma", "batch_size", *unstated)
        kept = {name: record[name] for name in names}
        roi = None if record["roi"] is None else tuple(record["roi"])
        areas = None if record.get("areas") is None else Areas.from_json(record["areas"])
        return PredictConfig(
            mode=record["mode"],
            device=self.settings["device"],
            roi=roi,
            areas=areas,
            shard=self.begun.shard,
            focus=self.focus,
            **kept,
        )

    def _region(self) -> dict[str, Any]:
        region = self.region
        if isinstance(region, PaintedAreas):
            region = region.areas()
        named = {"region_name": self.region_name}
        return named | ({"areas": region} if isinstance(region, Areas) else {"roi": region})
