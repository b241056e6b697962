"""Vessels and nuclei that were drawn or segmented elsewhere, in files of their own."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile
from particle_maps import measured, nuclei, report_of, straight_vessel, write_picture
from scipy import ndimage

from napari_damm import cli
from napari_damm.analysis.cells import DRAWN
from napari_damm.analysis.config import bands_of
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.analysis.regions import Labelled
from napari_damm.analysis.sources import MapSource


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A picture without a vessel channel, and labels of its vessels and nuclei."""
    folder = tmp_path_factory.mktemp("drawn")
    signal, vessels = straight_vessel()
    picture = write_picture(folder / "m1.ome.tif", [nuclei(), signal], ["dapi", "nanoparticles"])
    tifffile.imwrite(folder / "vessels.tif", vessels.astype(np.uint16) * 40000)
    numbered = ndimage.label(nuclei())[0].astype(np.int32)
    tifffile.imwrite(folder / "nuclei.tif", numbered)
    return picture, folder / "vessels.tif", folder / "nuclei.tif", int(numbered.max())


def test_a_picture_needs_no_vessel_channel_where_its_vessels_are_drawn(files):
    picture, vessels, nuclei_drawn, count = files
    with pytest.raises(ValueError, match="shows the vessels"):
        report_of(MapSource(picture))
    source = MapSource(picture, vessel_labels=vessels, nucleus_labels=nuclei_drawn)
    report, _ = report_of(source)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)
    assert report.value("vessel_area") == pytest.approx(100 * 11 / 600)
    facts = report.sections[0]
    assert (facts.vessels_from, facts.nuclei_from) == (DRAWN, DRAWN)
    assert facts.about["vessels"] == str(vessels)
    assert next(row.n for row in report.rows if row.measure == "cell_dose") == count


def test_the_command_takes_drawn_vessels_and_nuclei(files, tmp_path, capsys):
    picture, vessels, nuclei_drawn, count = files
    given = ["--vessel-labels", str(vessels), "--nucleus-labels", str(nuclei_drawn)]
    assert cli.main(["analyze", str(picture), *given, "--out", str(tmp_path / "numbers")]) == 0
    with (tmp_path / "numbers" / "measures.csv").open() as stream:
        rows = {row["measure"]: row for row in csv.DictReader(stream)}
    assert float(rows["vessel_area"]["value"]) == pytest.approx(100 * 11 / 600)
    assert int(rows["positive_cells"]["n"]) == count
    assert "Vessels were given as labels." in (tmp_path / "numbers" / "report.html").read_text()
    capsys.readouterr()
    twice = [str(picture), str(picture), *given, "--out", str(tmp_path / "more")]
    assert cli.main(["analyze", *twice]) == 2
    assert "--vessel-labels belongs to one input" in capsys.readouterr().err


def test_labels_of_another_field_or_of_no_numbers_are_refused(files, tmp_path):
    picture = files[0]
    tifffile.imwrite(tmp_path / "narrow.tif", np.ones((600, 300), np.uint8))
    with pytest.raises(ValueError, match="sizes differ"):
        report_of(MapSource(picture, vessel_labels=tmp_path / "narrow.tif"))
    tifffile.imwrite(tmp_path / "float.tif", np.ones((600, 700), np.float32))
    with pytest.raises(ValueError, match="labels must be whole numbers"):
        report_of(MapSource(picture, vessel_labels=files[1], nucleus_labels=tmp_path / "float.tif"))


def test_a_region_inside_a_vessel_says_so():
    signal, vessels = straight_vessel()
    one = np.zeros(signal.shape, np.int32)
    one[100, 300] = 70000
    drawn = LabelImage(vessels > 0)
    spot = Labelled("spot", LabelImage(one), 70000)
    report, _ = measured({"particles": signal}, regions=[spot], vessel_labels=drawn)
    assert report.value("vessel_area", region="spot") == 100.0
    reasons = {row.measure: row.reason for row in report.rows if row.region == "spot"}
    assert reasons["tissue_distance"] == "the region is vessel all over"


def test_labels_that_hold_no_vessel_are_told_apart_from_a_threshold():
    signal, _ = straight_vessel()
    nothing = LabelImage(np.zeros(signal.shape, np.uint8))
    _, warnings = measured({"particles": signal}, vessel_labels=nothing)
    assert any("draw some in the labels" in str(each) for each in warnings)


def test_bands_are_read_as_people_write_them():
    assert bands_of("0-200, 200\u2013500;7.5-9") == ((0, 200), (200, 500), (7.5, 9))
    assert bands_of(" ") == ()
    for text, part in (("0-200, 5", "5"), ("-3-4", "-3-4"), ("a-b", "a-b"), ("0-inf", "0-inf")):
        with pytest.raises(ValueError, match=f"two distances in um such as 0-200, got '{part}'"):
            bands_of(text)
