"""Odd input is measured rightly, or refused in one clear sentence; never silently wrong."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
import tifffile
from particle_maps import measured, nuclei, report_of, straight_vessel, write_picture

from napari_damm import cli
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.group_table import member_of, read_groups
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.analysis.regions import Outline
from napari_damm.analysis.sources import MapSource

SHAPE = (300, 350)


def planes():
    signal, vessels = straight_vessel(SHAPE)
    return [vessels, nuclei()[: SHAPE[0], : SHAPE[1]], signal]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    return write_picture(tmp_path_factory.mktemp("odd") / "s.ome.tif", planes())


# ---------------------------------------------------------------- label pictures


@pytest.mark.parametrize("option", ["regions", "vessel_labels", "nucleus_labels"])
def test_labels_of_several_channels_are_refused(picture, tmp_path, option):
    tifffile.imwrite(tmp_path / "rgb.tif", np.ones((*SHAPE, 3), np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="holds 3 channels: labels are one plane"):
        report_of(MapSource(picture, **{option: tmp_path / "rgb.tif"}))


def test_a_mask_of_true_and_false_is_a_label(picture, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[:100] = True
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    report, _ = report_of(MapSource(picture, regions=tmp_path / "mask.tif"))
    assert {row.region: row.n for row in report.rows if row.measure == "extravasated_area"} == {
        "tissue": 300 * 350, "label 1": 100 * 350,
    }  # fmt: skip


def test_labels_with_gaps_of_one_pixel_and_below_0_are_regions_of_their_own(picture, tmp_path):
    labels = np.zeros(SHAPE, np.int32)
    labels[0, 0], labels[5:100, 5:100], labels[200:250], labels[299, 349] = 1, 7, 900_000, -4
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    report, _ = report_of(MapSource(picture, regions=tmp_path / "labels.tif"))
    counted = {row.region: row.n for row in report.rows if row.measure == "vessel_area"}
    counted.pop("tissue")
    assert counted == {"label -4": 1, "label 1": 1, "label 7": 95**2, "label 900000": 50 * 350}


def test_what_is_not_0_is_vessel_below_0_too():
    signal, vessels = straight_vessel(SHAPE)
    labels = LabelImage(-3 * vessels.astype(np.int64))
    report, _ = measured({"particles": signal}, vessel_labels=labels)
    assert report.value("vessel_area") == pytest.approx(100 * 11 / 300)


# ---------------------------------------------------------------- regions


def square(y0, x0, y1, x1):
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)


def test_regions_may_overlap_and_reach_beyond_the_picture():
    signal, vessels = straight_vessel(SHAPE)
    boxes = {"a": (0, 0, 100, 100), "b": (50, 50, 150, 150), "over": (-50, -50, 40, 40),
             "off": (900, 0, 950, 50), "dot": (10.1, 10.1, 10.4, 10.4)}  # fmt: skip
    drawn = [Outline(name, (square(*box),)) for name, box in boxes.items()]
    report, warnings = measured({"particles": signal, "vessels": vessels}, regions=drawn)
    counted = {row.region: row.n for row in report.rows if row.measure == "vessel_area"}
    assert counted == {"tissue": 300 * 350, "a": 100**2, "b": 100**2, "over": 40**2, "off": 0,
                       "dot": 0}  # fmt: skip
    assert [text.split(" ")[1] for text in warnings] == ["'off'", "'dot'"]
    assert all("holds no tissue: its measures are left empty" in text for text in warnings)


# ---------------------------------------------------------------- intensities


@pytest.mark.parametrize("config", [AnalyzeConfig(), AnalyzeConfig(particle_threshold=2.0**31 + 9)])
def test_numbers_too_large_to_tell_pixels_apart_are_refused(tmp_path, config):
    images = [vessels, _, signal] = planes()
    images[2] = (1000 * signal).astype(np.uint32) + np.uint32(2**31)
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, images[2])
    with pytest.raises(ValueError, match=r"the particles of .* subtract 2147483648 from them"):
        measured({"particles": tifffile.imread(path), "vessels": vessels}, config=config)


def test_an_offset_of_16_bits_changes_no_length():
    signal, vessels = straight_vessel(SHAPE)
    plain, _ = measured({"particles": 1000 * signal, "vessels": vessels})
    lifted, _ = measured({"particles": 1000 * signal + 60_000, "vessels": vessels})
    for name in ("l50", "extravasation_distance", "extravasated_area"):
        assert lifted.value(name) == pytest.approx(plain.value(name), rel=1e-3)


def test_a_signal_below_0_has_no_uniformity_and_says_why():
    signal, vessels = straight_vessel(SHAPE)
    report, _ = measured({"particles": 1000 * signal - 500, "vessels": vessels})
    reasons = {row.measure: (row.value, row.reason) for row in report.rows}
    for name in ("cv", "gini"):
        assert reasons[name] == (None, "the mean signal is not above 0")


def test_cells_have_a_dose_where_there_are_no_vessels():
    vessels, dapi, signal = planes()
    images = {"particles": signal, "nuclei": dapi}
    without, _ = measured({**images, "vessels": 0 * vessels})
    with_, _ = measured({**images, "vessels": vessels})
    assert without.value("l50") is None
    for name in ("cell_dose", "positive_cells"):
        assert without.value(name) == pytest.approx(with_.value(name))


# ---------------------------------------------------------------- files and tables


def test_a_file_that_is_given_twice_is_refused(picture, tmp_path, monkeypatch):
    monkeypatch.chdir(picture.parent)
    with pytest.raises(ValueError, match=r"s\.ome\.tif is given twice: leave one out"):
        report_of([picture, picture.name])
    other = [MapSource(picture, particles_channel=name) for name in ("nanoparticles", "dapi")]
    assert len(report_of(other)[0].sections) == 2


def test_a_test_without_groups_is_refused(picture, tmp_path, capsys):
    given = ["analyze", str(picture), "--out", str(tmp_path / "numbers"), "--test", "welch"]
    assert cli.main(given) == 2
    assert "give --groups CSV, too" in capsys.readouterr().err


def test_coarse_pixels_can_be_meant(picture, tmp_path, capsys):
    given = ["analyze", str(picture), "--out", str(tmp_path / "numbers"), "--pixel-size", "30"]
    assert cli.main(given) == 2
    assert "--coarse-pixels if it is meant" in capsys.readouterr().err
    assert cli.main([*given, "--coarse-pixels"]) == 0


LINES = [
    ("Mäuse 1 – öß.ome.tif", "m 1", "Größe"),
    ("日本.tif", "m2", "b"),
    ("c;d,e.tif", "m3", "b"),
]


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("folder", ["", "C:\\data\\", "/data/mice/"])
def test_tables_of_any_program_are_read(tmp_path, between, code, folder):
    rows = [("file", "animal", "group"), *((folder + name, *more) for name, *more in LINES)]
    text = "\r\n".join(between.join(f'"{word}"' for word in row) for row in rows)
    path = tmp_path / "groups.csv"
    path.write_bytes(unicodedata.normalize("NFD", text).encode(code))
    members = read_groups(path)
    for name, *who in LINES:
        assert list(member_of(members, name, "")) == who
        assert list(member_of(members, unicodedata.normalize("NFD", name), "")) == who


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("b.tif,M1,a", "calls an animal 'm1' and 'M1': write one of them"),
        ("b.tif,m2,A", "calls a group 'a' and 'A': write one of them"),
        ("b.tif,m1,b", "puts animal 'm1' into two groups, 'a' and 'b'"),
        ("x\\a.tif,m1,a", r"names the file 'a\.tif' twice"),
        ("b.tif;m2;b", "line 3 of .* lacks a file, an animal or a group"),
    ],
)
def test_what_nobody_can_mean_is_refused(tmp_path, last, words):
    path = tmp_path / "groups.csv"
    path.write_text(f"file,animal,group\na.tif,m1,a\n{last}\n")
    with pytest.raises(ValueError, match=words):
        read_groups(path)


def test_a_table_in_another_code_says_how_to_save_it(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_bytes("file,animal,group\nMäuse.tif,m1,a\n".encode("cp1252"))
    with pytest.raises(ValueError, match=r"not a text file in UTF-8: .*in Excel: CSV UTF-8"):
        read_groups(path)


def test_one_group_alone_is_told(picture, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("file,animal,group\ns.ome.tif,m1,control\n")
    report, _ = report_of(picture, groups=table)
    assert "All sections are of one group, 'control': there is nothing to compare." in report.notes


@pytest.mark.parametrize("light_ground", [True, False])
def test_vessels_that_are_dark_on_a_light_ground_are_told(light_ground):
    signal, vessels = straight_vessel(SHAPE)
    images = {"particles": signal, "vessels": 1 - vessels if light_ground else vessels}
    report, _ = measured(images, name="s")
    said = re.compile(r"9\d % of the tissue of s count as vessel: are these dark on a light ground")
    assert any(said.match(each) for each in report.notes) is light_ground
    drawn = LabelImage((images["vessels"] > 0.5).astype(np.int32))
    report, _ = measured(images, name="s", vessel_labels=drawn)  # whoever drew them means them
    assert not any("count as vessel" in each for each in report.notes)
