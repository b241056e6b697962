"""The controls of the "Analyze nanoparticles" widget, in the order in which they are needed."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_damm.widgets.analyze.channel_box import ChannelBox
from napari_damm.widgets.analyze.cut_off import CutOff
from napari_damm.widgets.analyze.measured_note import MeasuredNote
from napari_damm.widgets.analyze.results import ProfilePlot, ResultsTable
from napari_damm.widgets.controls import button, guard_wheel, rows, stack
from napari_damm.widgets.help import help_button
from napari_damm.widgets.notes import Note
from napari_damm.widgets.number_boxes import PixelSizeBox
from napari_damm.widgets.region_picker import LayerChoice
from napari_damm.widgets.run.run_controls import RunControls
from napari_damm.widgets.viewer.marked_region import layers_with_areas

HELP_PAGE = "analyze"
VESSELS = "What distances are measured from: a vessel image, or a Labels layer with vessels drawn"
NUCLEI = "For the dose per cell: a nuclei image, or a Labels layer with nuclei, each its own number"
BANDS = (
    "Regions by their distance from the tissue's edge in µm, each with its numbers: 0-200, 200-500"
)
VESSEL_CUT_OFF = "What is brighter than this is vessel; drag to change it"
PARTICLE_CUT_OFF = (
    "Particles brighter than this count: for the extravasated area, tissue access and positive "
    "cells; drag to change it"
)
SHOW = (
    "Show what counts as vessel, and drag the cut-offs; of a large section around the view's middle"
)
SHOW_DRAWN = "Show the vessels and the profile; of a large section around the view's middle"
COMPARE = "Imaged particles, of a predicted map: how far both agree, and where they differ"
HINT = (
    "To get numbers of parts, draw areas in a Shapes layer or paint a Labels layer, and pick it "
    "here: each area, or each label, gets its own"
)


class AnalyzeForm(QWidget):
    """Pickers, cut-offs, buttons, table and plot."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.particles = ChannelBox(viewer, "particles", "Predicted or imaged particles")
        self.vessels = ChannelBox(viewer, "vessels", VESSELS, particles=self.particles)
        self.nuclei = ChannelBox(viewer, "nuclei", NUCLEI, True, self.particles)
        self.imaged = ChannelBox(viewer, "imaged", COMPARE, optional=True)
        self.boxes = (self.particles, self.vessels, self.nuclei, self.imaged)
        self.pixel_size, self.size_note = PixelSizeBox(), Note("pixel_size_note")
        self.pixel_size.setToolTip("Width of one pixel of the vessels layer")
        self.region = LayerChoice(viewer, layers_with_areas, HINT)
        self.bands = QLineEdit()
        self.bands.setObjectName("bands")
        self.bands.setPlaceholderText("none")
        self.bands.setToolTip(BANDS)
        self.vessel_cut_off = CutOff("threshold", "vessel", VESSEL_CUT_OFF)
        self.particle_cut_off = CutOff("particle_threshold", "particle", PARTICLE_CUT_OFF)
        self.preview = button("preview", "Show vessels", SHOW)
        self.save = button("save", "Save report…", "Tables, figures and one page, in a new folder")
        self.run = RunControls(
            button("analyze", "Analyze", "Measure the map in the regions picked"),
            button("cancel", "Cancel", "Stop; numbers that are there stay"),
            self.save,
        )
        self.table, self.plot, self.measured = ResultsTable(), ProfilePlot(), MeasuredNote()
        self.agreement, self.cautions = Note("agreement"), Note("cautions")
        self._lay_out()
        guard_wheel(self)

    def _lay_out(self) -> None:
        form = rows()
        form.addRow("Particles", self.particles)
        form.addRow("Vessels", self.vessels)
        form.addRow("Nuclei", self.nuclei)
        form.addRow("Compare with", self.imaged)
        form.addRow("Pixel size", stack(self.pixel_size, self.size_note))
        form.addRow("Region", self.region)
        form.addRow("Edge bands", self.bands)
        form.addRow("Vessel cut-off", self.vessel_cut_off)
        form.addRow("Particle cut-off", self.particle_cut_off)
        form.addRow("", self.preview)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for shown in (self.measured, self.cautions, self.agreement, self.plot, self.table):
            column.addWidget(shown)
        column.addWidget(help_button(HELP_PAGE))
        column.addStretch(1)

    def show_ready(self, running: bool, reason: str, measured: bool) -> None:
        """Enable what can be done now; `reason` says why nothing can be measured."""
        self.run.show_ready(running, reason)
        self.preview.setEnabled(not running and not reason)
        self.save.setEnabled(measured and not running)
