"""A result is measured with the picture it was predicted from, at its pixel size, or not at all."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
from particle_maps import nuclei, report_of, straight_vessel, write_picture

from napari_damm import cli
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.group_table import Member
from napari_damm.analysis.sources import MapSource
from napari_damm.slide import open_slide
from napari_damm.slide.identity import identify_arrays
from napari_damm.store import ResultLayout, ResultStore, ShardMaps

HALF = AnalyzeConfig(vessel_threshold=0.5)
SHAPE = (600, 700)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    signal, vessels = straight_vessel(SHAPE)
    folder = tmp_path_factory.mktemp("picture")
    return write_picture(folder / "mouse1.ome.tif", [vessels, nuclei(), signal])


def stored(path, picture, **more):
    slide = open_slide(picture)
    signal, _ = straight_vessel(SHAPE)
    layout = ResultLayout(signal.shape, 1.0, slide.origin)
    branch = np.full(layout.cells_shape, 2, np.uint8)
    record = {
        "input": slide.identity, "model": {"name": "tiny", "sha256": "0" * 64},
        "mode": "expected", "seed": 0, "slide_pixel_size_um": 1.0,
        "lattice": {"window": 256, "stride": 192, "shape": list(SHAPE)}, **more,
    }  # fmt: skip
    with ResultStore.create(path, layout, record) as store:
        store.write_shard(0, 0, ShardMaps(signal, branch * np.float32(0), branch, None))
        store.finish({"finished": "now"})
    return path


@pytest.fixture(scope="module")
def result(picture, tmp_path_factory):
    return stored(tmp_path_factory.mktemp("result") / "mouse1.ome.zarr", picture)


def test_a_record_that_names_no_file_is_refused_with_the_remedy(picture, tmp_path, capsys):
    nameless = {"kind": "files", "vessels": {"channel": "vessels"}, "nuclei": {}}
    path = stored(tmp_path / "r.ome.zarr", picture, input=nameless)
    assert cli.main(["analyze", str(path), "--out", str(tmp_path / "numbers")]) == 2
    said = capsys.readouterr().err
    assert "does not say which file it is of: give the picture" in said
    assert "as --section" in said


def test_another_pixel_size_than_the_recorded_one_is_refused(result, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"predicted at 1 um per pixel, not at 0\.5: leave out"):
        report_of(MapSource(result, pixel_size_um=0.5), HALF)
    out = tmp_path / "numbers"
    assert cli.main(["analyze", str(result), "--pixel-size", "0.5", "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0
    assert "leave out --pixel-size" in error
    assert not out.exists()


def test_the_recorded_pixel_size_may_be_said_again(result):
    report, _ = report_of(MapSource(result, pixel_size_um=1.0), HALF)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)


def test_a_moved_picture_of_the_same_content_needs_no_caution(result, picture, tmp_path):
    moved = shutil.copy(picture, tmp_path / "moved.ome.tif")
    report, _ = report_of(MapSource(result, section=moved), HALF)
    assert report.sections[0].about["caution"] == ""


@pytest.mark.parametrize("shape", [(600, 650), (1200, 1400), (300, 350)])
@pytest.mark.parametrize("roi", [None, [0, 0, 600, 700]])
def test_a_section_of_another_size_is_refused(picture, tmp_path, shape, roi):
    path = stored(tmp_path / "r.ome.zarr", picture, roi=roi)
    signal, vessels = straight_vessel(shape)
    other = write_picture(tmp_path / "other.ome.tif", [vessels, vessels, signal])
    with pytest.raises(ValueError, match=r"another picture than .*: it has .*, that had 600 x 700"):
        report_of(MapSource(path, section=other), HALF)


def test_a_section_of_the_same_size_and_other_content_is_told_wherever_its_numbers_stand(
    result, tmp_path, capsys
):
    signal, vessels = straight_vessel(SHAPE, rows=(295, 306))
    other = write_picture(tmp_path / "wrong.ome.tif", [vessels, nuclei(), signal])
    out = tmp_path / "numbers"
    given = ["analyze", str(result), "--section", str(other), "--out", str(out)]
    assert cli.main([*given, "--vessel-threshold", "0.5"]) == 0
    words = "wrong.ome.tif has the size of the picture that mouse1.ome.zarr was predicted from"
    lines = capsys.readouterr().out.splitlines()
    # before the numbers
    assert words in "".join(lines[: next(k for k, x in enumerate(lines) if "L50" in x)])
    assert sum(words in line for line in lines) == 1
    with (out / "reasons.csv").open() as stream:
        told = [row["measure"] for row in csv.DictReader(stream) if words in row["reason"]]
    with (out / "measures.csv").open() as stream:
        valued = [row["measure"] for row in csv.DictReader(stream) if row["value"]]
    assert len(valued) > 10
    assert told == valued
    page = (out / "report.html").read_text()
    assert page.index(words) < page.index("<h2>Sections")
    assert words in (out / "report.json").read_text()


@pytest.mark.parametrize("told", [True, False])
def test_a_picture_of_layers_is_known_by_its_pixels(picture, tmp_path, told):
    slide = open_slide(picture)
    rasters = {"vessels": slide.vessels, "nuclei": slide.nuclei if told else slide.vessels}
    path = stored(tmp_path / "r.ome.zarr", picture, input=identify_arrays(rasters))
    report, _ = report_of(MapSource(path, section=picture), HALF)
    assert (report.sections[0].about["caution"] == "") == told
    signal, vessels = straight_vessel((600, 650))
    other = write_picture(tmp_path / "other.ome.tif", [vessels, vessels, signal])
    with pytest.raises(ValueError, match="600 x 650 px, that had 600 x 700"):
        report_of(MapSource(path, section=other), HALF)


def test_differences_of_groups_that_a_prediction_does_not_give_are_told(picture, result, tmp_path):
    other = stored(tmp_path / "mouse2.ome.zarr", picture)
    groups = {"mouse1.ome.zarr": Member("a", "x"), "mouse2.ome.zarr": Member("b", "y")}
    report, _ = report_of([result, other], HALF, groups=groups)
    said = "coefficient of variation, Gini coefficient are not to be read from a predicted map."
    assert any(note.endswith(said) for note in report.notes)
    alone, _ = report_of(result, HALF)
    assert not any(note.endswith(said) for note in alone.notes)
