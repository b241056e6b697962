"""RO-Crate metadata of a result: read back by rocrate, true to the record, and only when asked."""

from __future__ import annotations

import json
import shutil

import jobs
import pytest

from napari_damm import api, cli
from napari_damm.engine import crate as module
from napari_damm.engine.crate import FILE, NO_LICENCE, PARTS, write_crate
from napari_damm.engine.provenance import KEY
from napari_damm.events import Planned
from napari_damm.store import open_result

pytestmark = pytest.mark.usefixtures("quick_first_stages")
QUICK = ("--mode", "draft", "--steps", "2", "--batch-size", "2")


@pytest.fixture(scope="module")
def section(folder):
    """A finished result of two samples."""
    path = folder / "finished.ome.zarr"
    jobs.run(folder, path, samples=2)
    return path


@pytest.fixture
def read():
    """Read a crate as other programs do."""
    return pytest.importorskip("rocrate.rocrate").ROCrate


def values(entities) -> dict[str, object]:
    return {each["name"]: each["value"] for each in entities if each.type == "PropertyValue"}


def test_a_crate_is_read_back_with_what_the_record_says(section, read):
    assert write_crate(section) == section / FILE
    crate, record = read(section), open_result(section).record
    assert crate.name == "Predicted nanoparticle distribution of section.ome.tif"
    assert crate.license == NO_LICENCE
    profiles = {each.id for each in crate.root_dataset["conformsTo"]}
    assert "https://w3id.org/ro/wfrun/process/0.5" in profiles
    (action,) = crate.get_by_type("CreateAction")
    assert crate.root_dataset["mentions"] is action
    assert action["instrument"]["softwareVersion"] == record["versions"]["napari-damm"]
    assert action["endTime"].replace(":", "") == record["finished"].replace(":", "")
    assert action["endTime"][-3] == ":"
    said = values(action["object"])
    assert {name: said[name] for name in ("mode", "steps", "seed", "samples")} == {
        name: record[name] for name in ("mode", "steps", "seed", "samples")
    }
    assert json.loads(said["normalisation"]) == record["normalisation"]


def test_all_that_determines_a_result_is_in_its_crate(section, read):
    write_crate(section)
    (action,) = read(section).get_by_type("CreateAction")
    said, record = values(action["object"]), open_result(section).record
    stated = [name for name in KEY if name not in ("input", "model") and record[name] is not None]
    assert {"precision", "timesteps", "start", "spread_factor", "lattice"} <= set(stated)
    assert list(said) == stated
    for name in stated:
        plain = said[name] if isinstance(record[name], str | bool) else json.loads(str(said[name]))
        assert plain == record[name]


def test_two_files_of_one_name_are_named_once(section, read):
    record = dict(open_result(section).record)
    pictures = {
        role: {**record["input"][role], "path": f"/{role}/s0.ome.tif", "name": "s0.ome.tif"}
        for role in ("vessels", "nuclei")
    }
    pytest.importorskip("rocrate")
    crate = module._crate(section, record | {"input": record["input"] | pictures}, None)
    assert crate.name == "Predicted nanoparticle distribution of s0.ome.tif"
    assert crate.get("#image-1")["description"] == "vessels: channel vessels"
    assert crate.get("#image-2")["description"] == "nuclei: channel nuclei"


@pytest.mark.parametrize("lacking", ["path", "channel", "nuclei"])
def test_a_record_that_does_not_say_all_of_its_images_is_described_as_far_as_it_does(
    section, read, lacking
):
    record = dict(open_result(section).record)
    given = {role: dict(record["input"][role]) for role in ("vessels", "nuclei")}
    for about in given.values():
        about.pop(lacking, None)
    given.pop(lacking, None)
    crate = module._crate(section, record | {"input": {"kind": "files", **given}}, None)
    assert crate.name == "Predicted nanoparticle distribution of section.ome.tif"


def test_images_and_model_are_named_by_their_hashes(section, read):
    write_crate(section)
    (action,) = read(section).get_by_type("CreateAction")
    image, model = (each for each in action["object"] if each.type == "CreativeWork")
    record = open_result(section).record
    assert image["name"] == "section.ome.tif"
    assert image["identifier"].endswith(record["input"]["vessels"]["sha256_content"])
    assert image["description"] == "vessels: channel vessels; nuclei: channel nuclei"
    assert model["identifier"].endswith(record["model"]["sha256"])


def test_every_map_of_the_folder_is_a_part(section, read):
    write_crate(section)
    parts = {each.id for each in read(section).data_entities}
    there = {f"{name}/" for name in PARTS if (section / name).exists()}
    assert parts == {*there, "zarr.json"}
    assert {"np/", "np_std/", "samples/"} <= parts


def test_folders_of_this_machine_are_not_told(section, folder):
    pytest.importorskip("rocrate")
    assert str(folder) not in write_crate(section).read_text("utf-8")


def test_a_licence_is_what_the_owner_says_and_what_was_written_is_replaced(section, read):
    write_crate(section)
    write_crate(section, license="https://spdx.org/licenses/CC-BY-4.0")
    assert read(section).license == "https://spdx.org/licenses/CC-BY-4.0"


def test_a_described_result_is_still_the_same_job(section, folder):
    pytest.importorskip("rocrate")
    before = open_result(section).digest()
    write_crate(section)
    assert open_result(section).digest() == before
    assert jobs.tiles_computed(jobs.run(folder, section, samples=2, resume=True)) == 0


def test_an_unfinished_result_is_refused(folder, out):
    pytest.importorskip("rocrate")
    events = jobs.predict(folder, out)
    while not isinstance(next(events), Planned):
        pass
    events.close()
    with pytest.raises(ValueError, match=r"r\.ome\.zarr is not finished: predict it to its end"):
        write_crate(out)
    assert not (out / FILE).exists()


def test_without_the_library_the_command_says_how_to_install_it(folder, out, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    given = [str(folder / "section.ome.tif"), "--out", str(out), "--ro-crate"]
    assert cli.main(["predict", *given]) == 2
    assert "pip install 'napari-damm[rocrate]'" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("many", [False, True])
def test_the_command_describes_what_it_predicts(folder, tmp_path, read, many):
    image, model = str(folder / "section.ome.tif"), str(folder / "tiny.safetensors")
    place = ["--out-dir", str(tmp_path)] if many else ["--out", str(tmp_path / "section.ome.zarr")]
    assert cli.main(["predict", image, *place, "--model", model, *QUICK, "--ro-crate"]) == 0
    assert "section.ome.tif" in read(tmp_path / "section.ome.zarr").name


# ---------------------------------------------------------------- of a batch


@pytest.fixture
def three(folder, tmp_path):
    """Three sections and a model, as arguments of the command."""
    files = [shutil.copy(folder / "section.ome.tif", tmp_path / f"{name}.tif") for name in "abc"]
    model = ["--model", folder / "tiny.safetensors"]
    given = [*files, "--out-dir", tmp_path / "out", *model, *QUICK, "--ro-crate"]
    return ["predict", *map(str, given)]


@pytest.fixture
def written(monkeypatch):
    """Which results were described; the library need not be there."""
    described = []

    def write(path):
        if path.name in written_not:
            raise OSError(f"{path} is read only")
        described.append(path.name)
        return path / FILE

    written_not = []
    monkeypatch.setattr("napari_damm.cli.predict.check_crates", lambda: None)
    monkeypatch.setattr("napari_damm.cli.batch.write_crate", write)
    return described, written_not


def test_a_batch_says_where_its_crates_are(three, written, tmp_path, capfd):
    assert cli.main(three) == 0
    lines = capfd.readouterr().out.splitlines()[-3:]
    expected = [f"RO-Crate    {tmp_path / 'out' / f'{n}.ome.zarr' / FILE}" for n in "abc"]
    assert lines == expected


def test_each_section_of_a_batch_is_described_when_it_is_done(three, written, monkeypatch):
    predict, described = api.predict, written[0]

    def interrupted(slide, *args, **more):
        if slide.name.startswith("b"):
            assert described == ["a.ome.zarr"]
            raise KeyboardInterrupt
        yield from predict(slide, *args, **more)

    monkeypatch.setattr(api, "predict", interrupted)
    assert cli.main(three) == 130
    assert described == ["a.ome.zarr"]


def test_a_crate_that_cannot_be_written_stops_no_other(three, written, tmp_path, capfd):
    described, written_not = written
    written_not.append("a.ome.zarr")
    assert cli.main(three) == 1
    assert described == ["b.ome.zarr", "c.ome.zarr"]
    said = capfd.readouterr()
    assert f"no RO-Crate a.tif: {tmp_path / 'out' / 'a.ome.zarr'} is read only" in said.out
    assert "finished, but 0 of 3 sections failed, 1 without RO-Crate" in said.err
    written_not.clear()
    assert cli.main([*three, "--resume"]) == 0
    assert described[2:] == ["a.ome.zarr", "b.ome.zarr", "c.ome.zarr"]
