"""The layers of a job in a viewer, running or finished.

1. `ResultLayers` adds them over a live preview when a job is planned, refreshes the shown ones
   while it runs, and gives them the final arrays and record when it ends.
2. Where the viewer shows the same store already (a run that was cancelled, or its result opened
   from disk), those layers are used again, as the analyst has set them up.
3. NP maps are drawn over the stains by adding light, and two of them would add up: older maps of
   the same kind and place are hidden, and what was drawn about them. Names of later runs say
   which: "Branch (fast, small, 2)".
4. While a job runs its layers are locked; a colour bar stands beside the NP map that is shown.
5. Each step of that is a turn of the event loop: a layer is made, then shown, then its colour bar.
   In one turn napari would stand still for a third of a second.
6. `settle_reopened` has layers that a reader made look as they do after the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_damm.util.text import printable
from napari_damm.widgets.viewer.colour_bar import colour_bar_turns, show_colour_bar
from napari_damm.widgets.viewer.layer_slides import SlideRequest
from napari_damm.widgets.viewer.result_maps import (
    BRANCH,
    MAP,
    NP,
    PARTIAL,
    PARTICLES,
    PREVIEW,
    Maps,
    layer_tuples,
    with_share,
)
from napari_damm.widgets.viewer.result_tools import ABOUT_A_MAP
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import NO_NOTES, NOTES, RunNotes
from napari_damm.widgets.viewer.verdict import VERDICT, tell_verdict, verdict_in_words

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.types import LayerDataTuple

    from napari_damm.store import Result

STORE_PATH = "napari_damm_path"


class ResultLayers:
    """The layers of one job in a viewer; whoever removes one simply sees less.

    The plane of a `slide` is added to their names, `notes` to their metadata; `store` is where the
    result is saved. napari takes a good part of a second for all layers, so `add_next` adds one at
    a time, and the screen lives in between.
    """

    def __init__(
        self,
        viewer: Any,
        maps: Maps,
        slide: SlideRequest,
        notes: RunNotes = NO_NOTES,
        store: Path | None = None,
    ) -> None:
        self._viewer, self._notes = viewer, notes
        self._layers: dict[str, Layer] = {}
        self._plane, self._store = slide.plane, store
        self._waiting = layer_tuples(maps, slide.world)
        self._to_show: deque[Callable[[], None]] = deque()
        self._which = _which_run(viewer.layers, maps, slide.plane)
        self._bottom = len(viewer.layers)

    @property
    def incomplete(self) -> bool:
        """Whether `add_next` has more to do."""
        return bool(self._waiting or self._to_show)

    def add_next(self) -> None:
        """Add the next layer, from the top down: the lowest is the answer, and ends up selected.

        When all are there, show the next thing that is to be seen of them.
        """
        if self._waiting:
            self._add_a_layer()
        elif self._to_show:
            self._to_show.popleft()()

    def _add_a_layer(self) -> None:
        from napari.layers import Layer

        data, arguments, kind = self._waiting.pop()
        name = arguments["metadata"][MAP]
        arguments["name"] = f"{name} {self._plane}".rstrip() + self._which
        arguments["metadata"][NOTES] = self._notes
        if self._store is not None:
            arguments["metadata"][STORE_PATH] = str(self._store)
        layer = _layers_of_store(self._viewer.layers, self._store).get(name)
        if layer is None:
            visible = arguments.get("visible", True)
            layer = Layer.create(data, {**arguments, "visible": False}, kind)
            self._viewer.layers.insert(min(self._bottom, len(self._viewer.layers)), layer)
            if visible:
                self._to_show.append(partial(self._reveal, layer))
            else:
                hide_older(self._viewer.layers, layer)
        else:
            layer.data, layer.metadata = data, arguments["metadata"]
        self._layers[NP if name == PREVIEW else name] = layer
        _lock(layer, True)
        if name == NP:
            self._to_show.extend(colour_bar_turns(self._viewer, layer))

    def _reveal(self, layer: Layer) -> None:
        """Show a layer in place of older ones of its kind, if it is still there."""
        if layer in self._viewer.layers:
            hide_older(self._viewer.layers, layer)
            layer.visible = True

    @classmethod
    def of_preview(cls, viewer: Any, maps: Maps, slide: SlideRequest) -> ResultLayers:
        """Show the NP map alone, in place of an earlier preview."""
        for old in [each for each in viewer.layers if each.metadata.get(MAP) == PREVIEW]:
            viewer.layers.remove(old)
        layers = cls(viewer, maps, slide)
        layers._waiting, layers._which = layers._waiting[:1], ""
        _, arguments, _ = layers._waiting[0]
        arguments["metadata"][MAP] = PREVIEW
        return layers

    @property
    def present(self) -> list[Layer]:
        """The layers that are still in the viewer."""
        return [layer for layer in self._layers.values() if layer in self._viewer.layers]

    def refresh(self) -> None:
        """Show what the preview has by now, as cheaply as napari can."""
        for layer in self.present:
            layer.refresh(thumbnail=False, highlight=False, extent=False)

    def keep(self, result: Result) -> None:
        """Have the layers remember the result that they show."""
        for layer in self.present:
            layer.metadata = {**layer.metadata, NOTES: replace(self._notes, result=result)}

    def finish(self, maps: Maps) -> None:
        """Replace the live arrays by the final ones, and the record by the final one."""
        for name, final in maps.arrays().items():
            layer = self._layers.get(name)
            if layer is not None and layer in self._viewer.layers:
                layer.data = final
        self._stamp(maps.record, 1.0)

    def end_early(self, record: Mapping[str, Any], share_done: float) -> None:
        """Say in the layers' names and record that a part is missing; maps of nothing go."""
        while self._to_show:
            self._to_show.popleft()()
        if share_done <= 0 and self._store is None:
            for layer in self.present:
                self._viewer.layers.remove(layer)
        self._stamp(record, min(share_done, 0.99))

    def _stamp(self, record: Mapping[str, Any], share_done: float) -> None:
        """Put a record into the layers' metadata and bring their thumbnails up to date."""
        for layer in self.present:
            layer.name = with_share(layer.name, share_done)
            verdict = verdict_in_words(record)
            layer.metadata = {**layer.metadata, RESULT_KEY: dict(record), VERDICT: verdict}
            layer.refresh(highlight=False, extent=False)
            _lock(layer, False)


def hide_older(layers: Iterable[Layer], layer: Layer) -> None:
    """Hide the maps of the kind and place of this one: light of two would add up.

    With an older map of particles goes what was drawn about it: trust, cover, frame, difference.
    """
    shows = layer.metadata[MAP]
    kind = PARTICLES if shows in PARTICLES else (shows,)
    about = ABOUT_A_MAP if shows in PARTICLES else ()
    for other in layers:
        record = other.metadata.get(RESULT_KEY)
        if not isinstance(record, Mapping) or other is layer:
            continue
        older = other.metadata.get(MAP) in kind or record.get("shows") in about
        if older and _overlap(other, layer):
            other.visible = False


def name_reopened(layers: Iterable[Layer], maps: Iterable[LayerDataTuple], source: str) -> None:
    """Have layers that are to be added say which result they show, where others have their names.

    Each is called after the folder of its result: "Branch (mouse 2)".
    """
    tuples = [arguments for _, arguments, _ in maps]
    plain = [PARTIAL.sub("", arguments["name"]) for arguments in tuples]
    taken = {PARTIAL.sub("", layer.name) for layer in layers}
    which, number = "", 1
    while not taken.isdisjoint(name + which for name in plain):
        which = f" ({source}, {number})" if number > 1 else f" ({source})"
        number += 1
    for arguments, name in zip(tuples, plain, strict=True):
        arguments["name"] = name + which + arguments["name"].removeprefix(name)


def settle_reopened(viewer: Any, notes: RunNotes, count: int, name: str) -> None:
    """Wait for the layers with these notes, and have them look as after the run.

    A reader hands them to napari as plain values: it cannot set all there is to set. When all are
    there, it is said what the result called `name` is worth.
    """
    added: list[Layer] = []

    def settle(event: Any) -> None:
        layer = event.value
        if layer.metadata.get(NOTES) is not notes:
            return
        added.append(layer)
        hide_older(viewer.layers, layer)
        _lock(layer, False)
        if layer.metadata[MAP] == NP:
            show_colour_bar(layer)
        if len(added) == count:
            viewer.layers.events.inserted.disconnect(settle)
            tell_verdict(name, layer.metadata[RESULT_KEY])
            # napari selects the last one when this has returned
            QTimer.singleShot(0, partial(_select_map, viewer, added))

    viewer.layers.events.inserted.connect(settle)


def _select_map(viewer: Any, added: Iterable[Layer]) -> None:
    """Select the NP map, as after the run: the answer, not what happens to lie on top."""
    np_map = next((layer for layer in added if layer.metadata.get(MAP) == NP), None)
    if np_map in viewer.layers:
        viewer.layers.selection.active = np_map


def _lock(layer: Layer, locked: bool) -> None:
    """Protect a layer, as far as napari can, or give it free; nobody paints into a branch map."""
    layer.editable = not locked and layer.metadata.get(MAP) != BRANCH
    if hasattr(layer, "locked"):
        layer.locked = locked


def _which_run(layers: Iterable[Layer], maps: Maps, plane: str) -> str:
    """Return what tells the names of a run's layers from those that are there; "" if nothing."""
    taken = {PARTIAL.sub("", layer.name) for layer in layers}
    names = [f"{name} {plane}".rstrip() for name in maps.arrays()]
    if taken.isdisjoint(names):
        return ""
    record = maps.record
    said = [record.get("mode"), (record.get("model") or {}).get("name")]
    said.append(record.get("region_name") or (record.get("areas") or {}).get("name"))
    words = ", ".join(printable(str(word)) for word in said if word)
    number = 2
    while not taken.isdisjoint(f"{name} ({words}, {number})" for name in names):
        number += 1
    return f" ({words}, {number})"


def _overlap(one: Layer, other: Layer) -> bool:
    """Tell whether two layers share ground; where their units differ, they are taken to."""
    if tuple(one.units[-2:]) != tuple(other.units[-2:]):
        return True
    (low, high), (other_low, other_high) = (layer.extent.world[:, -2:] for layer in (one, other))
    return bool((low < other_high).all() and (other_low < high).all())


def _layers_of_store(layers: Iterable[Layer], store: Path | None) -> dict[str, Layer]:
    """Return the layers that show a store, by which of its maps they show."""
    found: dict[str, Layer] = {}
    for layer in layers:
        path = layer.metadata.get(STORE_PATH) or layer.source.path
        if store is None or RESULT_KEY not in layer.metadata or path is None:
            continue
        if Path(path).absolute() == store:
            found.setdefault(layer.metadata.get(MAP, ""), layer)
    return found
