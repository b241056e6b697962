"""Everything that the analyst chose, frozen when Start or Resume is clicked, and made into events.

Afterwards, however the training ended, the best model so far goes into the list of models. All of
it happens in the worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.events import Event, Finished
from napari_damm.train.config import TrainConfig
from napari_damm.train.run_folder import TrainedModel, TrainingState, read_training
from napari_damm.widgets.run.gui_priority import load_what_is_slow
from napari_damm.widgets.viewer.layer_slides import SlideRequest, World
from napari_damm.widgets.viewer.marked_region import Marked

if TYPE_CHECKING:
    from napari_damm.dataset.sources import Source


@dataclass(frozen=True)
class LayerData:
    """Three open layers, and the part of them to train on (None: all)."""

    slide: SlideRequest
    marked: Marked | None = None

    @property
    def world(self) -> World:
        """How um relate to the viewer's coordinates."""
        return self.slide.world

    @property
    def target_covers(self) -> float:
        """The share of the first image, 0..1, that the target covers."""
        return self.slide.covered_share("primary", "target")

    def source(self) -> Source:
        """Build what the engine takes."""
        from napari_damm.dataset.sources import SectionSource

        return SectionSource(
            images=self.slide.planes,
            pixel_size_um=self.slide.pixel_sizes_um,
            origin=self.slide.origins_um,
            name=", ".join(filter(None, (self.slide.name, self.slide.plane))),
            region=None if self.marked is None else self.marked.region(),
        )


@dataclass(frozen=True)
class FolderData:
    """A folder with one sub-folder per role; `pixel_size_um` None where the files state it."""

    path: Path
    primary: str
    secondary: str
    target: str
    pixel_size_um: float | None = None

    @property
    def world(self) -> World:
        """How um relate to the viewer's coordinates."""
        return World()

    @property
    def target_covers(self) -> float:
        """All of each image, for all that is known before the files are read."""
        return 1.0

    def source(self) -> Source:
        """Build what the engine takes."""
        from napari_damm.dataset.sources import FolderSource

        return FolderSource(
            self.path,
            self.primary,
            self.secondary,
            self.target,
            self.pixel_size_um,
            coarse_pixels=True,  # the widget has asked
        )


@dataclass(frozen=True)
class Kept:
    """What a training left: its state, and the name of the model that is now in the list."""

    state: TrainingState | None = None
    model: str = ""
    problem: str = ""

    @property
    def resumable(self) -> bool:
        """Whether it can be gone on with."""
        return self.state is not None and self.state.resumable


@dataclass(frozen=True)
class TrainRequest:
    """One training. `model` None: from scratch, or resumed from what it was begun with."""

    data: LayerData | FolderData
    config: TrainConfig
    model: Path | None
    out: Path
    resume: bool = False
    _finished: list[TrainedModel] = field(default_factory=list, repr=False)

    def events(self) -> Iterator[Event]:
        """Start the training; slow."""
        load_what_is_slow()
        from napari_damm import api

        events = api.fine_tune(
            [self.data.source()], self.model, self.config, self.out, resume=self.resume
        )
        return self._watched(events)

    def keep(self) -> Kept:
        """Put the model that there is into the list of models, once the training has ended."""
        from napari_damm.model_file import import_model

        kept = Kept()
        try:
            kept = Kept(read_training(self.out))
            path = kept.state.model if kept.state is not None else None
            if self._finished:
                path = Path(self._finished[0].path)
            if path is not None:
                import_model(path, self.config.name, replace=True)
                return replace(kept, model=self.config.name)
        except (OSError, ValueError, RuntimeError) as error:
            return replace(kept, problem=f"the model could not be put into the list: {error}")
        return kept

    def _watched(self, events: Iterator[Event]) -> Iterator[Event]:
        try:
            for event in events:
                if isinstance(event, Finished):
                    self._finished.append(event.result)
                yield event
        finally:
            # A test may hand over a plain iterator, which has nothing to close.
            getattr(events, "close", lambda: None)()
