"""From which intensity on something counts: dragged or typed, seen at once, and recorded."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from particle_maps import straight_vessel

from napari_damm.analysis.methods import methods_paragraph
from napari_damm.widgets.analyze.preview import BRIGHT_LAYER, MASK_LAYER

PLACE = {"scale": (1.0, 1.0), "units": "um"}


@pytest.fixture
def analysis(open_analysis):
    viewer = ViewerModel()
    signal, vessels = straight_vessel(shape=(400, 500))
    viewer.add_image(vessels, name="vessels", **PLACE)
    viewer.add_image(signal, name="nanoparticles", **PLACE)
    return open_analysis(viewer)


def particles_of(report):
    return report.sections[0].thresholds["particles"]


def test_the_particle_cut_off_is_seen_while_it_is_dragged_and_measured(analysis):
    assert not analysis.particle_threshold.isEnabled()
    assert "extravasated area" in analysis.particle_threshold.toolTip()
    analysis.click("preview")
    assert "automatic, Otsu's threshold" in analysis.particle_threshold_note.text()
    assert BRIGHT_LAYER not in analysis.viewer.layers  # nobody has asked for it
    analysis.particle_threshold.setValue(250)
    analysis.wait_for(lambda: BRIGHT_LAYER in analysis.viewer.layers)
    value = float(analysis.particle_threshold_value.text())
    assert value == pytest.approx(0.25, abs=0.01)
    shown = analysis.viewer.layers[BRIGHT_LAYER].data.astype(bool)
    assert not (shown & analysis.viewer.layers[MASK_LAYER].data.astype(bool)).any()
    analysis.run("analyze")
    report = analysis.widget.report
    assert (particles_of(report)["method"], particles_of(report)["value"]) == ("given", value)
    assert report.value("extravasated_area") == pytest.approx(100 * shown.mean())
    share = f"{report.value('extravasated_area'):.1f} % of the tissue, outside vessels"
    assert analysis.particle_threshold_note.text().endswith(f"(set by hand): {share}")
    assert f"bright above a given threshold of {value:.4g}" in methods_paragraph(report)


def test_a_number_can_be_typed_without_a_preview_and_taken_back(analysis):
    analysis.particle_threshold_value.setText("0,5")
    analysis.threshold_value.setText("0.25")
    analysis.run("analyze")
    found = analysis.widget.report.sections[0].thresholds
    assert (found["particles"]["value"], found["vessels"]["value"]) == (0.5, 0.25)
    analysis.particle_threshold_value.clear()
    analysis.run("analyze")
    assert particles_of(analysis.widget.report)["method"] == "Otsu"


def test_what_is_no_number_is_said(analysis):
    for text in ("much", "nan", "1e999"):
        analysis.particle_threshold_value.setText(text)
        assert not analysis.analyze.isEnabled()
        assert analysis.reason.text() == (
            f"The particle cut-off must be a number or empty, got {text!r}"
        )


def test_a_cut_off_is_of_the_image_that_it_was_given_for(analysis):
    analysis.threshold_value.setText("0.4")
    analysis.particle_threshold_value.setText("0.2")
    analysis.viewer.add_image(np.ones((400, 500)), name="brighter vessels", **PLACE)
    analysis.vessels.setCurrentText("brighter vessels")
    assert analysis.threshold_value.text() == ""
    assert analysis.particle_threshold_value.text() == "0.2"


def test_a_cut_off_is_as_fine_as_the_slider_whatever_the_intensities(analysis):
    particles = analysis.viewer.layers["nanoparticles"]
    particles.data = 2.0**20 + 10 * np.asarray(particles.data, np.float64)
    analysis.click("preview")
    found = []
    for step in (400, 401):
        analysis.particle_threshold.setValue(step)
        found.append(float(analysis.particle_threshold_value.text()))
    assert 0.005 < found[1] - found[0] <= 0.011
