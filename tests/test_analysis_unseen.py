"""Fill at the border of an image (NaN, 0, -9999, 255) is no tissue without particles."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from particle_maps import nuclei, report_of, straight_vessel, write_picture

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.opening import open_source
from napari_damm.analysis.sources import MapLayers, MapSource, slide_map
from napari_damm.slide import open_slide
from napari_damm.slide.raster import Raster

CONFIG = AnalyzeConfig(tile_px=200)
EDGE = np.s_[:, :120]
NAMES = ["cd31", "dapi", "nanoparticles"]


def planes():
    """Vessels, nuclei and particles with a little noise, as a camera has it."""
    signal, vessels = straight_vessel((300, 420))
    rng = np.random.default_rng(0)
    dapi = np.pad(nuclei(), ((0, 0), (0, 0)))[:300, :420]
    return [100 * p + 10 + rng.normal(0, 0.5, p.shape) for p in (vessels, dapi, signal)]


def measured(path, **more):
    report, warnings = report_of(MapSource(path, **more), CONFIG)
    return {row.measure: row.value for row in report.rows}, warnings, report


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """What is measured where the part without a picture is cut off."""
    path = tmp_path_factory.mktemp("cut") / "cut.ome.tif"
    return measured(write_picture(path, [p[:, 160:] for p in planes()]))[0]


@pytest.mark.parametrize("which", [0, 2], ids=["vessels", "particles"])
@pytest.mark.parametrize("value", [np.nan, 0.0, -9999.0, 255.0])
def test_where_an_image_has_no_picture_nothing_is_measured(cut, tmp_path, which, value):
    images = [p.astype(np.float32) for p in planes()]
    images[which][EDGE] = value
    found, warnings, report = measured(write_picture(tmp_path / "m.ome.tif", images))
    for name in ("l50", "auc_100", "extravasated_area", "vessel_area", "gini", "cell_dose"):
        assert found[name] == pytest.approx(cut[name], rel=0.03, abs=0.01), name
    (said,) = [text for text in warnings if "show nothing" in text]
    role = ("vessels", "", "particles")[which]
    assert said.startswith(f"the {role} of m.ome.tif show nothing in ")
    assert said in report.notes


def test_a_subtracted_background_is_no_fill(tmp_path):
    images = [np.maximum(p - 11, 0).astype(np.float32) for p in planes()]
    found, warnings, _ = measured(write_picture(tmp_path / "m.ome.tif", images))
    assert not warnings
    assert next(iter(found.values())) == pytest.approx(20 * np.log(2), rel=0.1)


def test_vessels_that_were_segmented_before_are_no_picture_with_fill(tmp_path):
    vessels, dapi, signal = planes()
    mask = np.where(vessels > 50, 255.0, 0.0)
    path = write_picture(tmp_path / "m.ome.tif", [mask, dapi, signal])
    _, warnings, report = measured(path)
    assert not warnings
    (row,) = [r for r in report.rows if r.measure == "vessel_area"]
    assert (row.n, row.value) == (
        300 * 420,
        pytest.approx(100 * 13 / 300),
    )  # blurred by a row on both sides


def test_large_vessels_that_were_segmented_leave_their_tissue(tmp_path):
    _, dapi, signal = planes()
    mask = np.zeros(signal.shape)
    mask[95:200] = 255.0
    _, warnings, report = measured(write_picture(tmp_path / "m.ome.tif", [mask, dapi, signal]))
    assert not warnings
    assert report.rows[3].n == 300 * 420


def test_tissue_that_particles_have_not_reached_is_measured(tmp_path):
    vessels, dapi, _ = planes()
    most = np.clip((np.arange(420) - 150) / 20, 0, None)  # photons: none, then more and more
    photons = np.random.default_rng(0).poisson(np.broadcast_to(most, vessels.shape))
    path = write_picture(tmp_path / "m.ome.tif", [vessels, dapi, photons.astype(float)])
    _, warnings, report = measured(path)
    assert not warnings
    assert report.rows[3].n == 300 * 420


def test_vessels_that_are_drawn_need_no_image_of_them(tmp_path):
    images = planes()
    images[0][EDGE] = np.nan
    section = open_source(MapSource(write_picture(tmp_path / "m.ome.tif", images)), CONFIG).section
    assert section.unseen["vessels"].any()
    labels = open_source(
        MapSource(tmp_path / "m.ome.tif", vessel_labels=labels_of(tmp_path)), CONFIG
    )
    assert labels.section.tissue_in(section.whole).all()
    assert not section.tissue_in(section.whole).all()


def labels_of(folder):
    _, vessels = straight_vessel((300, 420))
    tifffile.imwrite(folder / "labels.tif", vessels.astype(np.uint8))
    return folder / "labels.tif"


def test_imaged_particles_are_compared_where_they_have_a_picture(tmp_path):
    images = planes()
    path = write_picture(tmp_path / "m.ome.tif", images)
    missing = images[2].astype(np.float32)
    missing[EDGE] = -9999.0
    slide = open_slide(path)
    imaged = Raster("tracer", (missing,), 1.0)
    particles = slide.channels[2]
    both = slide_map(slide, particles, {"imaged": imaged}, name="m", record={"model": {}})
    report, warnings = report_of(MapLayers(both), CONFIG)
    found = report.sections[0].agreement
    assert found.r == pytest.approx(1.0, abs=1e-3)
    assert found.pixels == 300 * (420 - 128)  # cells of 32 px
    (said,) = warnings
    assert said.startswith("the imaged particles of m show nothing")
    assert said.endswith("that part is not compared")


def test_an_image_of_nan_is_refused(tmp_path):
    vessels, dapi, signal = planes()
    path = write_picture(tmp_path / "m.ome.tif", [vessels, dapi, signal * np.nan])
    with pytest.raises(ValueError, match="'nanoparticles' is NaN nearly all over: give a channel"):
        measured(path)


def test_a_signal_that_fades_out_into_0_is_measured_to_its_end(tmp_path):
    vessels, dapi, _ = planes()
    signal, _ = straight_vessel((300, 420), (145, 156))
    faded = np.floor(255 * signal)  # 0 from 110 um on, and 1 before
    path = write_picture(tmp_path / "m.ome.tif", [vessels, dapi, faded])
    _, warnings, report = measured(path)
    assert not warnings
    assert report.rows[3].n == 300 * 420
