"""Many sections by one call or command: pairing, failures that stop nobody, going on."""

from __future__ import annotations

import json
import shutil
import threading

import jobs
import numpy as np
import pytest

import napari_damm
from napari_damm import api, cli
from napari_damm.engine.batch_sections import in_all_ways
from napari_damm.events import Planned, SectionDone, SectionFailed, SectionStarted

pytestmark = pytest.mark.usefixtures("quick_first_stages")
CONFIG = api.PredictConfig(**jobs.QUICK)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    return [folder / name for name in names]


def named(sections):
    return [(s.name, s.nuclei and s.nuclei.name, s.store.name) for s in sections]


# ---------------------------------------------------------------- which files


def test_a_folder_stands_for_its_images_and_not_for_results(folder, tmp_path):
    touch(tmp_path, "b.tif", "a.ome.tif", "notes.txt", ".hidden.tif", "c.PNG")
    jobs.run(folder, tmp_path / "old.ome.zarr")
    found = api.find_sections([tmp_path], tmp_path / "out")
    assert named(found) == [
        ("a.ome.tif", None, "a.ome.zarr"),
        ("b.tif", None, "b.ome.zarr"),
        ("c.PNG", None, "c.ome.zarr"),
    ]


def test_a_naming_rule_pairs_and_leaves_out_what_has_no_part(tmp_path):
    touch(tmp_path, "m1_CD31.tif", "m1_DAPI.tif", "m2_CD31.tif", "m2_DAPI.tif", "overview.tif")
    found = api.find_sections([tmp_path], "out", "CD31=DAPI")
    assert named(found) == [
        ("m1_CD31.tif", "m1_DAPI.tif", "m1_CD31.ome.zarr"),
        ("m2_CD31.tif", "m2_DAPI.tif", "m2_CD31.ome.zarr"),
    ]
    assert str(found[0]).startswith("m1_CD31.tif + m1_DAPI.tif -> ")


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    files = touch(tmp_path, "m1/section.tif", "m2/section.tif", "m3/other.tif")
    stores = [name for *_, name in named(api.find_sections(files, "out"))]
    assert stores == ["m1_section.ome.zarr", "m2_section.ome.zarr", "other.ome.zarr"]
    names = [name for name, *_ in named(api.find_sections(files, "out"))]
    assert names == ["m1/section.tif", "m2/section.tif", "other.tif"]


@pytest.mark.parametrize(
    ("names", "pattern", "words"),
    [
        (["m1_CD31.tif"], "CD31=DAPI", "m1_DAPI.tif is missing"),
        (["m1_CD31.tif", "m1_DAPI.tif", "odd.tif"], "CD31=DAPI", "odd.tif has no 'CD31'"),
        (["a.tif"], "CD31", "nuclei_pattern must be two different parts"),
        (["a.tif"], "CD31=CD31", "nuclei_pattern must be two different parts"),
        (["a.tif", "a.png"], None, "would both be called"),
        (["a.tif", "a.tif"], None, "a.tif is given twice"),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path, names, pattern, words):
    with pytest.raises((ValueError, OSError), match=words.replace("(", r"\(")):
        api.find_sections(touch(tmp_path, *names), "out", pattern)


def test_a_folder_without_images_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no image in"):
        api.find_sections([tmp_path], "out")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        api.find_sections([tmp_path / "nowhere.tif"], "out")


def test_every_model_and_mode_has_a_result_of_its_own(tmp_path):
    (section,) = api.find_sections(touch(tmp_path, "a.ome.tif"), tmp_path / "out")
    assert in_all_ways([section], ["small"], ["fast"]) == [section]
    found = in_all_ways([section], ["small", "my/own.safetensors"], ["fast", "expected"])
    assert [each.store.name for each in found] == [
        "a.small.fast.ome.zarr",
        "a.small.expected.ome.zarr",
        "a.own.fast.ome.zarr",
        "a.own.expected.ome.zarr",
    ]
    assert found[2].name == "a.ome.tif (own, fast)"
    assert found[1].config(api.PredictConfig(mode="fast", seed=4)).mode == "expected"
    with pytest.raises(ValueError, match="the mode fast is given twice"):
        in_all_ways([section], [], ["fast", "fast"])


def test_results_whose_names_are_too_long_are_refused_before_the_start(tmp_path):
    image = tmp_path / ("a" * 245 + ".tif")
    image.touch()
    (section,) = api.find_sections([image], tmp_path)
    with pytest.raises(ValueError, match="more than 255 bytes: give the file, or the model"):
        in_all_ways([section], ["small", "other"], [])
    longer = tmp_path / ("a" * 251 + ".tif")
    longer.touch()
    with pytest.raises(ValueError, match=r"the result of a{40}\.\.\. would have a name"):
        api.find_sections([longer], tmp_path)


# ---------------------------------------------------------------- from Python


@pytest.fixture
def sections(folder, tmp_path):
    """Two good sections with a damaged one between them."""
    files = [tmp_path / f"{name}.ome.tif" for name in ("a", "b", "c")]
    for path in (files[0], files[2]):
        shutil.copy(folder / "section.ome.tif", path)
    files[1].write_text("no picture")
    return api.find_sections(files, tmp_path / "out")


def test_a_section_that_fails_does_not_stop_the_others(folder, sections):
    events = list(api.predict_batch(sections, folder / "tiny.safetensors", CONFIG))
    kinds = [type(e) for e in events if isinstance(e, SectionDone | SectionFailed)]
    assert kinds == [SectionDone, SectionFailed, SectionDone]
    assert [e.number for e in jobs.of(SectionStarted, events)] == [1, 2, 3]
    report = events[-1].result
    assert events[-1].failed == ("b.ome.tif",)
    assert "b.ome.tif" in report.failed[0].message
    alone = jobs.digest(jobs.run(folder, None))
    assert [done.result.digest() for done in report.done] == [alone, alone]
    assert api.open_result(sections[2].store).complete


def test_a_batch_that_is_resumed_computes_only_what_is_missing(folder, sections):
    model = folder / "tiny.safetensors"
    events = api.predict_batch(sections, model, CONFIG)
    for event in events:
        if isinstance(event, SectionDone):
            break
    events.close()
    again = list(api.predict_batch(sections, model, CONFIG, resume=True))
    planned = jobs.of(Planned, again)
    assert [(p.shards_done, p.shards) for p in planned] == [(6, 6), (0, 6)]
    assert len(again[-1].result.done) == 2


def test_places_that_are_taken_are_refused_before_the_first_event(folder, sections):
    sections[2].store.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"c\.ome\.zarr already exists: continue it with resume"):
        next(api.predict_batch(sections, folder / "tiny.safetensors", CONFIG))
    assert not sections[0].store.exists()


def test_a_model_that_is_not_there_is_refused_before_the_first_event(sections):
    with pytest.raises((ValueError, OSError), match="no-such-model"):
        next(api.predict_batch(sections, "no-such-model"))
    assert not sections[0].store.parent.exists()


def test_closing_a_batch_stops_its_engine(folder, sections):
    events = api.predict_batch(sections, folder / "tiny.safetensors", CONFIG)
    while not isinstance(next(events), Planned):
        pass
    events.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("napari-damm")]


# ---------------------------------------------------------------- the command


def command(folder, *more):
    model = ["--model", str(folder / "tiny.safetensors"), "--steps", "2", "--batch-size", "2"]
    return cli.main(["predict", *map(str, more), *model])


def test_the_command_lists_failures_last_and_ends_with_1(folder, sections, capfd):
    out = sections[0].store.parent
    files = [section.image for section in sections]
    assert command(folder, *files, "--out-dir", out) == 1
    told = capfd.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == f"a.ome.tif -> {out / 'a.ome.zarr'}"
    assert lines[-1].startswith("failed      b.ome.tif: ")
    assert "1 of 3 sections failed (listed above); run the same" in told.err.splitlines()[-1]
    assert "Traceback" not in told.err
    assert (out / "b.failed.txt").read_text().startswith("b.ome.tif: ")
    shutil.copy(files[0], files[1])
    assert command(folder, *files, "--out-dir", out, "--resume") == 0
    assert not (out / "b.failed.txt").exists()
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()[-3:]] == ["done"] * 3


def test_a_batch_of_one_gives_the_bits_of_the_single_command(folder, tmp_path):
    section = folder / "section.ome.tif"
    assert command(folder, section, "--out-dir", tmp_path / "all") == 0
    assert command(folder, section, "--out", tmp_path / "one.ome.zarr") == 0
    results = [api.open_result(tmp_path / p) for p in ("all/section.ome.zarr", "one.ome.zarr")]
    assert np.asarray(results[0].np).any()
    assert results[0].digest() == results[1].digest()


def test_a_batch_in_two_modes_over_areas(folder, tmp_path, capfd):
    square = [[0, 0], [300, 0], [300, 300], [0, 300], [0, 0]]
    shape = {"type": "Polygon", "coordinates": [square]}
    (tmp_path / "section.geojson").write_text(json.dumps({"type": "Feature", "geometry": shape}))
    modes = ["--mode", "fast", "--mode", "draft", "--areas", tmp_path]
    out = tmp_path / "out"
    assert command(folder, folder / "section.ome.tif", "--out-dir", out, *modes) == 0
    fast, draft = (api.open_result(out / f"section.{mode}.ome.zarr") for mode in ("fast", "draft"))
    assert (fast.record["mode"], draft.record["mode"]) == ("fast", "draft")
    assert fast.record["areas"]["name"] == "section"
    assert fast.np.shape == draft.np.shape == (300, 300)
    assert "done        section.ome.tif (draft)" in capfd.readouterr().out


def test_a_dry_run_shows_pairs_and_costs_and_makes_nothing(folder, sections, capfd):
    out = sections[0].store.parent
    files = [section.image for section in sections]
    assert command(folder, *files, "--out-dir", out, "--dry-run") == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"a.ome.tif -> {out / 'a.ome.zarr'}: ")
    assert "6 windows" in lines[0]
    assert "cannot be predicted" in lines[1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a.tif"], "--out for one section or --out-dir for many: none is given"),
        (["a.tif", "--out", "r.ome.zarr", "--out-dir", "d"], "both are given"),
        (["a.tif", "b.tif", "--out", "r.ome.zarr"], "got 2: give --out-dir"),
        (["a.tif", "--out-dir", "d", "--nuclei", "n.tif"], "--nuclei-pattern"),
        (["a.tif", "--out", "r.ome.zarr", "--nuclei-pattern", "a=b"], "--nuclei FILE"),
        (["a.tif", "--out-dir", "d", "--z", "all"], "--z must be a number"),
        (["a.tif", "--out-dir", "d"], "a.tif does not exist"),
        (["x.tif", "--out-dir", "d", "--nuclei-pattern", "x=y"], "y.tif is missing"),
        (["x.tif", "--out-dir", "d", "--nuclei-pattern", "x"], "--nuclei-pattern must be"),
        (["x.tif", "--out-dir", "d/e"], "create it first"),
        (["x.tif", "--out", "r.ome.zarr", "--mode", "fast", "--mode", "draft"], "--mode goes once"),
        (["x.tif", "--out-dir", "d", "--areas", "nowhere"], "must be a folder with --out-dir"),
        (["x.tif", "--out-dir", "d", "--areas", "."], "x.geojson is missing"),
        (["x.tif", "--out", "r.ome.zarr", "--areas", "x.tif"], "x.tif"),
    ],
)
def test_bad_usage_is_one_line(args, words, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "x.tif")
    assert cli.main(["predict", *args]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_an_interrupted_batch_says_where_it_was(folder, sections, capfd, monkeypatch):
    def predict(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(api, "predict", predict)
    assert command(folder, sections[0].image, "--out-dir", sections[0].store.parent) == 130
    assert "interrupted in section 1 of 1; run the same" in capfd.readouterr().err


def test_the_names_are_at_the_top():
    assert napari_damm.predict_batch is api.predict_batch
    assert napari_damm.find_sections is api.find_sections
