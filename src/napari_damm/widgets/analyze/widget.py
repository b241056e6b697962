"""The "Analyze nanoparticles" widget: layers and regions in, numbers and a report out.

1. Build the controls (form).
2. Read the state: which layers there are, and whether they can be measured.
3. Connect: any change says anew whether Analyze is possible, and if not, why.
4. "Show vessels" reads a copy, of a large section a part; from then on masks and the profile follow
   the cut-offs.
5. Analyze freezes the controls into a request; table, plot and the Shapes layer get the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_damm.widgets.analyze.channel_box import is_drawn
from napari_damm.widgets.analyze.difference_layer import show_difference
from napari_damm.widgets.analyze.form import SHOW, SHOW_DRAWN, AnalyzeForm
from napari_damm.widgets.analyze.freezing import frozen
from napari_damm.widgets.analyze.live_analysis import LiveAnalysis
from napari_damm.widgets.analyze.predicted_size import PREDICTED, predicted_size
from napari_damm.widgets.analyze.preview import (
    BRIGHT_LAYER,
    MASK_LAYER,
    SHELL_LAYER,
    Preview,
    hide_masks,
    remove_masks,
    show_mask,
)
from napari_damm.widgets.analyze.previewed_part import part_around
from napari_damm.widgets.analyze.region_numbers import fill_features, select_region
from napari_damm.widgets.analyze.request import AnalyzeRequest, written
from napari_damm.widgets.analyze.results import cautions, profile_lines
from napari_damm.widgets.number_boxes import AHEAD, meant, show_origin
from napari_damm.widgets.run.job import readable
from napari_damm.widgets.run.run_widget import RunWidget
from napari_damm.widgets.viewer.camera import camera_of
from napari_damm.widgets.viewer.pixel_sizes import PixelSizes
from napari_damm.widgets.viewer.slices import in_units_of, stack_axes

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_damm.analysis.report import AnalysisReport
    from napari_damm.events import Event
    from napari_damm.widgets.run.live_run import LiveRun

DRAG_MS = 60
SHELL_UM = 5.0
AUTOMATIC = "automatic: bright parts of the image (Otsu's threshold). Show vessels to check it"
MASK_COLOUR, SHELL_COLOUR, BRIGHT_COLOUR = "#00e5ff", "#e69f00", "#00ff7f"


class AnalyzeWidget(RunWidget):
    """Numbers from a particle map: distances, areas, cells, uniformity."""

    what = "The analysis"
    stopping = "Cancelling…"

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        form = AnalyzeForm(viewer)
        super().__init__(form.run)
        self._viewer, self._form = viewer, form
        self._sizes, self._size_um = PixelSizes(), 0.0
        self._report: AnalysisReport | None = None
        self._request: AnalyzeRequest | None = None  # what the preview is of
        self._measured: AnalyzeRequest | None = None
        self._preview: Preview | None = None
        self._previewed = ""
        self._distance: NDArray[np.float64] | None = None
        self._dragged = QTimer(self)
        self._dragged.setSingleShot(True)
        self._dragged.setInterval(DRAG_MS)
        self._add_form(form)

        self._on_layers()

        for box in form.boxes:
            box.changed.connect(self._on_layers)
        for moved in (viewer.dims.events.point, viewer.dims.events.ndisplay):
            moved.connect(self._on_dims)
        form.region.changed.connect(self._update)
        form.bands.textChanged.connect(self._update)
        form.pixel_size.entered.connect(self._on_pixel_size)
        form.preview.clicked.connect(self._show_vessels)
        for cut_off in (form.vessel_cut_off, form.particle_cut_off):
            cut_off.changed.connect(self._on_cut_off)
        self._dragged.timeout.connect(self._draw_preview)
        form.run.start.clicked.connect(self._analyze)
        form.save.clicked.connect(self._ask_and_save)
        form.table.picked.connect(self._on_row)
        form.plot.distance_picked.connect(self.show_shell)

    @property
    def report(self) -> AnalysisReport | None:
        """What was measured last."""
        return self._report

    @property
    def vessel_threshold(self) -> float | None:
        """The threshold that was dragged to or typed; None: the automatic one, of all tissue."""
        return self._form.vessel_cut_off.value

    def _on_cut_off(self) -> None:
        self._update()
        self._dragged.start()

    def _on_layers(self) -> None:
        self._forget_preview()
        if not self.running:
            self._form.run.status.say("")  # it was of other layers
        vessels = self._form.vessels.picked
        size: float | None = self._sizes.ahead
        origin = AHEAD if size else ""
        if vessels is not None:
            size, origin = None, ""
            with suppress(ValueError):  # _frozen() says it
                size, origin = self._sizes.of(vessels)
            if size is None:
                size = predicted_size(vessels, self._form.particles.picked)
                origin = PREDICTED if size else ""
        self._size_um = size or 0.0
        self._form.pixel_size.show_size(self._size_um)
        show_origin(self._form.size_note, self._size_um, origin)
        self._update()

    def _on_dims(self, _: object) -> None:
        """Of a stack another slice is other images."""
        # The viewer may outlive the widget by a moment while its window is torn down.
        if isalive(self) and any(  # type: ignore[no-untyped-call]
            box.picked and stack_axes(box.picked) for box in self._form.boxes
        ):
            self._on_layers()

    def _on_pixel_size(self, value: float) -> None:
        form = self._form
        vessels = form.vessels.picked
        if vessels is None:
            self._sizes.ahead = value
        else:
            with suppress(ValueError):
                self._sizes.enter(vessels, value)
                if not form.pixel_size.typing:
                    picked = filter(None, (box.picked for box in form.boxes))
                    self._sizes.give(value, sorted(picked, key=lambda each: each != vessels))
        self._on_layers()

    def _forget_preview(self) -> None:
        if self._preview is not None:
            hide_masks(self._viewer)
        self._preview = self._distance = None
        form = self._form
        vessels = form.vessels.picked
        drawn = f"as drawn in '{vessels.label}'" if vessels and is_drawn(vessels) else ""
        form.preview.setToolTip(SHOW_DRAWN if drawn else SHOW)
        form.vessel_cut_off.begin(vessels, possible=not drawn)
        form.vessel_cut_off.note.say(drawn or AUTOMATIC)
        form.particle_cut_off.begin(form.particles.picked)
        form.particle_cut_off.note.say("")

    def _update(self) -> None:
        """Say whether Analyze is possible, or why not."""
        reason, request = "", None
        try:
            request = self._frozen()
        except ValueError as error:
            reason = readable(error)
        self._form.measured.compare(request)
        self._form.show_ready(self.running, reason, self._report is not None)

    def _frozen(self) -> AnalyzeRequest:
        """Freeze the controls, or raise ValueError with the reason why nothing can be measured."""
        return frozen(self._form, self._viewer.dims, self._size_um)

    def _show_vessels(self) -> None:
        """Read a coarse copy, and begin at the automatic threshold."""
        try:
            request = self._frozen()
            part = part_around(request, self._centre_um(request))
            preview = Preview.of((part or request).section(preview=True))
        except (ValueError, OSError) as error:
            self._form.run.status.say(readable(error))
            return
        if preview.vessels is None and not preview.drawn:
            self._form.run.status.say("No vessels: all pixels of the vessels layer are alike")
            return
        remove_masks(self._viewer)
        self._preview, self._request = preview, part or request
        self._previewed = "the picture" if part is None else "the part around the view's middle"
        form = self._form
        cut_offs = form.vessel_cut_off, form.particle_cut_off
        histograms = preview.vessels, preview.particles
        for cut_off, histogram in zip(cut_offs, histograms, strict=True):
            if histogram is not None:
                cut_off.show_range(histogram.low, histogram.high, histogram.threshold().value)
        self._draw_preview()

    def _centre_um(self, request: AnalyzeRequest) -> list[float]:
        """Return the place (y, x) at the middle of the view, in um of the request's world."""
        vessels = self._form.vessels.picked
        assert vessels is not None  # else there were no request
        centre = camera_of(self._viewer).center[-2:]
        units = in_units_of(vessels.layer, self._viewer.dims, centre)
        return [at * request.slide.world.um_per_unit for at in units]

    def _draw_preview(self) -> None:
        """Show the masks and the profile of the cut-offs as they are."""
        form = self._form
        if self._preview is None or self._request is None:
            return
        try:
            threshold, bright = form.vessel_cut_off.shown, form.particle_cut_off.shown
        except ValueError as error:
            form.run.status.say(readable(error))
            return
        self._distance, line = self._preview.measure(threshold)
        vessels = self._distance < 0
        self._show_mask(MASK_LAYER, vessels, MASK_COLOUR)
        covered = f"{100 * float(vessels.mean()):.1f} % of {self._previewed}"
        if threshold is not None:
            cut = form.vessel_cut_off
            cut.note.say(f"brighter than {cut.text(threshold)} ({cut.how()}): {covered}")
        else:
            drawn = self._request.slide.sources["vessels"].layer
            form.vessel_cut_off.note.say(f"as drawn in '{drawn}': {covered}")
        if bright is not None:
            self._draw_bright(bright, vessels)
        if line is None:
            form.run.status.say("No profile: too little tissue outside vessels")
            return
        measured = {} if self._report is None else profile_lines(self._report)
        form.plot.draw({"preview, coarse": line, **measured})

    def _draw_bright(self, threshold: float, vessels: NDArray[np.bool_]) -> None:
        """Say how much is bright; show it from when somebody has set the cut-off."""
        assert self._preview is not None
        cut = self._form.particle_cut_off
        mask, share = self._preview.bright(threshold, vessels)
        cut.note.say(
            f"brighter than {cut.text(threshold)} ({cut.how()}): {share:.1f} % of the tissue, "
            "outside vessels"
        )
        if cut.value is not None or BRIGHT_LAYER in self._viewer.layers:
            self._show_mask(BRIGHT_LAYER, mask, BRIGHT_COLOUR)

    def _show_mask(self, name: str, mask: NDArray[np.bool_], colour: str) -> None:
        assert self._preview is not None
        assert self._request is not None
        show_mask(self._viewer, name, mask, self._preview, self._request.slide.world, colour)

    def show_shell(self, distance_um: float) -> None:
        """Show which pixels have a distance, within 5 um."""
        if self._preview is None or self._request is None or self._distance is None:
            self._form.run.status.say("Click Show vessels first: its preview shows distances")
            return
        low = SHELL_UM * np.floor(distance_um / SHELL_UM)
        mask = (self._distance >= low) & (self._distance < low + SHELL_UM)
        self._show_mask(SHELL_LAYER, mask, SHELL_COLOUR)
        self._form.run.status.say(
            f"{SHELL_LAYER}: {low:g} to {low + SHELL_UM:g} µm from the nearest vessel"
        )

    def _analyze(self) -> None:
        self._form.pixel_size.settle()
        try:
            request = self._frozen()
        except ValueError as error:
            self._form.run.status.say(readable(error))
            return
        if not meant(self, request.slide.pixel_sizes_um["vessels"]):
            return
        self._measured = request
        self._go(request.events, "Measuring…")

    def _go(self, make_events: Callable[[], Iterator[Event]], words: str) -> None:
        self._begin(LiveAnalysis(make_events, self))
        self._form.run.status.say(words)

    def _after_run(self, run: LiveRun) -> None:
        found = run.report if isinstance(run, LiveAnalysis) else None
        if found is not None and found is not self._report:
            form, self._report = self._form, found
            form.table.show_report(found)
            form.plot.draw(profile_lines(found))
            form.cautions.say("\n".join(cautions(found)))
            if self._measured is not None and found.path is None:  # not one that was saved
                form.measured.measured(self._measured)
                fill_features(self._marking, found)
                said = show_difference(self._viewer, self._measured, found.sections[0])
                form.agreement.say(said)
        self._update()

    @property
    def _marking(self) -> Layer | None:
        """The layer that marks the regions, while it marks those that were measured."""
        with suppress(ValueError):
            if self._form.measured.has_areas_of(self._frozen()):
                return self._form.region.picked()
        return None

    def _on_row(self, name: str) -> None:
        if select_region(self._marking, name):
            self._viewer.layers.selection.active = self._marking

    def _ask_and_save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Folder for the report (a new one)")
        if chosen:
            self.save_report(Path(chosen))

    def save_report(self, folder: Path) -> None:
        """Write tables, figures and the page into a new folder."""
        report = self._report
        if report is None:
            raise ValueError("there is nothing to save: analyze first")
        self._go(lambda: written(report, folder), "Writing the report…")
