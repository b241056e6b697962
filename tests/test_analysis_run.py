"""From files to a report: pictures, results, groups, and what is said where it cannot be."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest
import tifffile
from particle_maps import measured, nuclei, report_of, straight_vessel, write_picture

from napari_damm import api, cli
from napari_damm.analysis import page
from napari_damm.analysis.agreement import SCALES
from napari_damm.analysis.cautions import UNREAD, cautions_of
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.measures import MEASURES, NOT_GIVEN
from napari_damm.analysis.methods import methods_paragraph
from napari_damm.analysis.opening import open_source
from napari_damm.analysis.regions import TRUSTED
from napari_damm.analysis.report import AnalysisReport, SectionFacts
from napari_damm.analysis.sources import MapLayers, MapSource, array_map
from napari_damm.cli.analyze import summary
from napari_damm.slide import open_slide
from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.store.layout import halve


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    signal, vessels = straight_vessel()
    return write_picture(
        tmp_path_factory.mktemp("picture") / "mouse1.ome.tif", [vessels, nuclei(), signal]
    )


@pytest.fixture(scope="module")
def result(picture, tmp_path_factory):
    """A stored result whose map is the imaged one; the left half is uncertain."""
    slide = open_slide(picture)
    signal, _ = straight_vessel()
    layout = ResultLayout(signal.shape, 1.0, (0.0, 0.0))
    record = {"input": slide.identity, "model": {"name": "tiny", "sha256": "0" * 64},
              "mode": "fast", "steps": 16, "seed": 0, "samples": 2}  # fmt: skip
    path = tmp_path_factory.mktemp("result") / "mouse1.ome.zarr"
    uncertainty = np.zeros(layout.cells_shape, np.float32)
    uncertainty[:, :10] = 0.9
    branch = np.full(layout.cells_shape, 2, np.uint8)
    with ResultStore.create(path, layout, record) as store:
        spread = signal if layout.with_std else None
        store.write_shard(0, 0, ShardMaps(signal, uncertainty, branch, spread))
        store.finish({"finished": "now"})
    return path


def test_a_picture_is_measured_by_the_usual_names_of_its_channels(picture):
    report, _ = report_of(picture, AnalyzeConfig(vessel_threshold=0.5))
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)
    facts = report.sections[0]
    assert (facts.predicted, facts.name) == (False, "mouse1.ome.tif")
    assert facts.about["vessels"] == "cd31"


def test_a_result_is_measured_with_the_vessels_it_was_predicted_from(result, picture):
    config = AnalyzeConfig(vessel_threshold=0.5)
    report, _ = report_of(result, config)
    imaged, _ = report_of(picture, config)
    assert report.sections[0].predicted
    # float16 in the store
    assert report.value("l50") == pytest.approx(imaged.value("l50"), rel=1e-3)
    assert report.notes[0].startswith("No intervals")


def test_the_samples_of_a_result_give_intervals(picture, result, tmp_path):
    signal, _ = straight_vessel()
    drawn = [halve(halve(straight_vessel(length_um=length)[0])) for length in (15.0, 25.0)]
    layout = ResultLayout(signal.shape, 1.0, with_std=True, samples=2)
    cells = np.full(layout.cells_shape, 2, np.uint8)
    path = tmp_path / "drawn.ome.zarr"
    with ResultStore.create(path, layout, dict(api.open_result(result).record)) as store:
        maps = ShardMaps(signal, np.zeros(cells.shape), cells, signal, samples=drawn)
        store.write_shard(0, 0, maps)
        store.finish({"finished": "now"})
    report, _ = report_of(path, AnalyzeConfig(vessel_threshold=0.5))
    (row,) = [r for r in report.rows if (r.measure, r.region) == ("l50", "tissue")]
    # coarse samples, read on the map's grid: a little blurred
    assert row.value == pytest.approx(20 * np.log(2), rel=0.05)
    assert row.high - row.low == pytest.approx(
        2 * 1.645 * np.std([15, 25], ddof=1) * np.log(2), rel=0.1
    )
    assert any("not calibrated" in line for line in summary(report))


def test_trusted_tissue_is_a_region_of_its_own_with_its_share(result):
    report, _ = report_of(result, AnalyzeConfig(vessel_threshold=0.5))
    share = {row.region: row.trusted_share for row in report.rows}
    assert share == {"tissue": pytest.approx((700 - 320) / 700), TRUSTED: 1.0}
    area = next(r.n for r in report.rows if (r.region, r.measure) == (TRUSTED, "vessel_area"))
    assert area == 600 * (700 - 320)


def test_a_predicted_map_is_compared_with_the_imaged_one(result):
    report, _ = report_of(MapSource(result, particles_channel="nanoparticles"))
    found = report.sections[0].agreement
    assert found.ssim == pytest.approx(1.0, abs=0.02)
    assert found.bias == pytest.approx(0.0, abs=0.01)
    assert found.difference.shape == (600, 700)
    assert found.r == pytest.approx(1.0, abs=1e-4)
    assert found.profile_difference == pytest.approx(0.0, abs=0.01)
    assert SCALES in report.notes


def test_the_comparison_is_in_the_command_and_on_the_page_with_units(result):
    report, _ = report_of(MapSource(result, particles_channel="nanoparticles"))
    found = report.sections[0].agreement
    lines = list(summary(report))
    start = lines.index("  predicted against imaged particles")
    assert [line.split("  ")[2] for line in lines[start + 1 : start + 8]] == [
        "Pearson r", "SSIM", "PSNR", "R2", "ICC(3,1) of 64 px blocks",
        "mean difference of the profiles", "bias, predicted minus imaged",
    ]  # fmt: skip
    limits = f"(limits of agreement {found.low:.3f} to {found.high:.3f})"
    assert lines[start + 7].endswith(f"relative intensity {limits}")
    shown = "".join(page._parts(report, []))
    for title in ("bias, predicted minus imaged", "lower limit of agreement"):
        assert f"<th>{title} (relative intensity)</th>" in shown
    assert shown.count(escape(SCALES)) == 1


def test_profiles_are_compared_on_the_scale_of_the_prediction(picture, tmp_path):
    signal, vessels = straight_vessel()
    planes = [vessels, nuclei(), 1000 * signal + 200]
    brighter = write_picture(tmp_path / "b.ome.tif", planes)
    section = open_source(
        MapSource(brighter, particles_channel="nanoparticles"), AnalyzeConfig()
    ).section
    reads = {"imaged": section.images["particles"], "vessels": section.images["vessels"]}
    reads["particles"] = lambda box: 0.5 * signal[box.slices]
    report, _ = report_of(MapLayers(replace(section, images=reads)), config=AnalyzeConfig())
    found = report.sections[0].agreement
    expected = [0.5 * row.signal for row in report.profiles if row.distance_um > 0]
    assert found.profile_difference == pytest.approx(2 * np.mean(expected), rel=0.05)
    assert SCALES not in report_of(picture)[0].notes


def test_predicted_and_imaged_sections_in_one_report_are_told_apart(result, picture):
    report, _ = report_of([result, picture], AnalyzeConfig(vessel_threshold=0.5))
    said = methods_paragraph(report)
    assert SCALES in report.notes
    assert "The particles of 1 of the sections were imaged" in said
    assert "in 16 steps (mode fast, seed 0), as the mean of 2 samples." in said
    record = {**report.sections[0].record, "steps": 1, "mode": "expected"}
    one = replace(report, sections=(replace(report.sections[0], record=record),))
    said = methods_paragraph(one)
    assert (
        "in one step (mode expected, seed 0); beside it 2 samples were drawn (mode fast)." in said
    )
    assert "mean of 2" not in said  # the map is none


def test_sections_become_animals_and_groups(picture, tmp_path):
    paths = [picture]
    for k, length in ((2, 22.0), (3, 30.0), (4, 32.0)):
        signal, vessels = straight_vessel(length_um=length)
        paths.append(write_picture(tmp_path / f"mouse{k}.ome.tif", [vessels, nuclei(), signal]))
    table = tmp_path / "groups.csv"
    lines = [f"mouse{k}.ome.tif,m{k},{'a' if k < 3 else 'b'}" for k in range(1, 5)]
    table.write_text("\n".join(["file,animal,group", *lines]))
    report, _ = report_of(paths, AnalyzeConfig(vessel_threshold=0.5), groups=table)
    found = next(c for c in report.comparisons if c.measure == "l50")
    assert found.animals == (2, 2)
    assert found.difference == pytest.approx((21 - 31) * np.log(2), rel=0.05)
    assert {row.animal for row in report.rows} == {"m1", "m2", "m3", "m4"}


def test_a_section_that_the_table_does_not_name_is_refused(picture, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("file,animal,group\nother.tif,m1,a\n")
    with pytest.raises(ValueError, match=r"does not name mouse1\.ome\.tif"):
        report_of(picture, groups=table)


@pytest.mark.parametrize(("verdict", "told"), [("use", 0), ("with care", 1), ("do not use", 1)])
def test_what_a_prediction_was_said_to_be_worth_stands_first(verdict, told):
    trust = {"verdict": verdict, "reasons": ["nuclei look <odd>"]}
    facts = SectionFacts(
        "s", (8, 8), (1.0, 1.0), True, "v", "n", {}, {}, {"trust": trust, "model": {"name": "m"}}
    )
    said = tuple(cautions_of("s", facts.record, facts.about))
    report = AnalysisReport({}, (facts,), (), (), notes=(*said, "a remark"))
    assert len(said) == told
    assert report.cautions == said
    assert report.remarks == ("a remark",)
    lines = list(summary(report))
    assert lines[:told] == list(said)
    assert lines[told] == "s (predicted particles)"
    shown = "".join(page._parts(report, []))
    assert shown.count(f"&quot;{verdict}&quot; (nuclei look &lt;odd&gt;)") == told
    if told:
        assert shown.index("nuclei look") < shown.index("Predicted, not imaged")
    assert not list(cautions_of("s", {}, {}))


def test_what_a_prediction_does_not_give_says_so_wherever_it_stands(result, picture, tmp_path):
    out = tmp_path / "numbers"
    report, _ = report_of(result, AnalyzeConfig(vessel_threshold=0.5), out=out)
    marked = {row.measure for row in report.rows if row.value is not None and row.reason}
    assert marked == {"cv", "gini"}
    assert {row.reason for row in report.rows if row.measure == "cv"} == {UNREAD}
    lines = [line for line in summary(report) if UNREAD in line]
    assert [line.split()[0] for line in lines] == ["coefficient", "Gini"]
    assert not any("  (" in line or " ," in line for line in summary(report))
    with (out / "reasons.csv").open() as stream:
        assert {r["measure"] for r in csv.DictReader(stream) if r["reason"] == UNREAD} == marked
    header = (out / "measures.csv").read_text().splitlines()[0]
    assert header == "section,animal,group,region,measure,value,unit,low,high,level,n,trusted_share"
    assert (out / "report.html").read_text().count(UNREAD) == 4  # two regions
    imaged, _ = report_of(picture, AnalyzeConfig(vessel_threshold=0.5))
    assert not any(UNREAD in line for line in summary(imaged))


def test_what_a_prediction_does_not_give_is_what_was_found_on_simulated_tissue():
    found = Path(__file__).parents[1] / "docs" / "measures.md"
    (line,) = [x for x in found.read_text("utf-8").splitlines() if x.startswith("- **Not given")]
    named = line.partition("**: ")[2].rstrip(".").split(", ")
    assert {MEASURES[name].label for name in NOT_GIVEN} == set(named)


def test_no_vessels_is_told_and_the_rest_is_measured():
    signal, vessels = straight_vessel()
    report, warnings = measured({"particles": signal, "vessels": 0 * vessels})
    assert len(warnings) == 1
    assert warnings[0].startswith("no vessels were found in arrays")
    assert report.value("l50") is None
    assert report.value("cv") > 0
    assert report.profiles == ()


def test_nan_is_refused_with_its_place():
    signal, vessels = straight_vessel()
    signal = signal.copy()
    signal[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"particles of arrays have NaN .* at y 3, x 5"):
        measured({"particles": signal, "vessels": vessels})


def test_sizes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"must have one shape, got particles .* vessels"):
        array_map({"particles": np.ones((5, 5)), "vessels": np.ones((5, 6))}, 1.0)


def test_a_result_whose_picture_is_gone_or_changed_says_what_to_do(result, picture, tmp_path):
    with pytest.raises(FileNotFoundError, match="give the picture it was predicted from"):
        report_of(MapSource(result, section=tmp_path / "gone.tif"))
    content = picture.read_bytes()
    try:
        picture.write_bytes(content[:5000] + b"x" + content[5001:])  # a pixel
        with pytest.raises(ValueError, match="has changed since"):
            report_of(result)
    finally:
        picture.write_bytes(content)


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_regions_come_from_a_label_picture(picture, tmp_path, tile):
    labels = np.ones((600, 700), np.uint8)
    labels[:, 350:] = 7
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, labels, tile=tile, compression="zlib" if tile else None)
    source = MapSource(picture, regions=path)
    report, _ = report_of([source], AnalyzeConfig(vessel_threshold=0.5))
    assert {row.region for row in report.rows} == {"tissue", "label 1", "label 7"}
    tifffile.imwrite(path, np.arange(600 * 700, dtype=np.uint32).reshape(600, 700))
    with pytest.raises(ValueError, match="more than 1000 numbers"):
        report_of([source], AnalyzeConfig(vessel_threshold=0.5))


def test_the_command_writes_tables_a_page_and_figures(picture, tmp_path, capsys):
    out = tmp_path / "numbers"
    assert cli.main(["analyze", str(picture), "--out", str(out), "--vessel-threshold", "0.5"]) == 0
    assert "half-distance L50" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {"measures.csv", "profile.csv", "report.json", "report.html", "profiles.svg",
            "profiles.png", "section-1.png"} <= names  # fmt: skip
    with (out / "measures.csv").open() as stream:
        rows = {row["measure"]: row for row in csv.DictReader(stream)}
    assert float(rows["l50"]["value"]) == pytest.approx(13.86, rel=0.01)
    content = json.loads((out / "report.json").read_text())
    assert content["warning"] is None
    shown = (out / "report.html").read_text()
    assert "data:image/svg+xml;base64," in shown
    assert "http" not in shown.replace("http-equiv", "")
    assert "Otsu&#x27;s threshold over the tissue of each section (" in shown
    assert "than a given threshold of 0.5, without specks below 30 µm²." in shown


def test_the_page_of_a_prediction_warns_and_names_its_model(result, tmp_path):
    report_of(result, AnalyzeConfig(vessel_threshold=0.5), out=tmp_path / "numbers")
    shown = (tmp_path / "numbers" / "report.html").read_text()
    assert "Predicted, not imaged." in shown
    assert "DAMM-Diffusion model tiny" in shown
    assert "by the model &#x27;tiny&#x27; (what it was trained on is not said; " in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.tif"], "gone.tif does not exist"),
        (["{picture}", "--particles-channel", "nothing"], "no channel 'nothing'"),
        (["{picture}", "--band", "5"], "--band must be two distances"),
        (["{picture}", "--band", "9-3"], "--band must go from 0 um or more to more, got 9-3"),
        (["{picture}", "--test", "guess"], "--test must be one of"),
        (["{plain}"], "has no pixel size"),
        (["{unnamed}"], "cannot tell which channel of"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments, words, picture, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    planes = [np.eye(40, dtype=np.float32)] * 3
    files = {
        "picture": picture,
        "plain": write_picture(tmp_path / "plain.tif", planes, um=None),
        "unnamed": write_picture(tmp_path / "unnamed.ome.tif", planes, ["a", "b", "c"]),
    }
    given = [argument.format(**files) for argument in arguments]
    assert cli.main(["analyze", *given, "--out", "numbers"]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert words in error
    assert not (tmp_path / "numbers").exists()
