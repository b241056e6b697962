"""A job record as a script and as a command: running either gives the same bits."""

from __future__ import annotations

import ast
import shlex

import jobs
import numpy as np
import pytest
import tifffile

from napari_damm import api, cli
from napari_damm.engine.reproduction import (
    Opening,
    as_command,
    as_python,
    open_slide_lines,
    opening_of,
)
from napari_damm.util.areas import Areas

pytestmark = pytest.mark.usefixtures("quick_first_stages")

JOBS = {
    "expected": {"mode": "expected", "steps": None},
    "a plausible map": {"steps": 3, "seed": 7},
    "several samples of a region": {"samples": 2, "roi": (40.5, 100.0, 330.0, 460.25)},
}


def scripted(record, folder):
    """Run the script of a record, and return its result."""
    opening = open_slide_lines(opening_of(record))
    code = as_python(record, opening, str(folder / "tiny.safetensors"))
    namespace: dict = {}
    exec(compile(code, "<copied>", "exec"), namespace)
    return namespace["result"]


def commanded(record, folder, out):
    """Run the command of a record, and return its result."""
    model = str(folder / "tiny.safetensors")
    words = shlex.split(as_command(record, opening_of(record), model, str(out)))
    assert words[0] == "napari-damm"
    assert cli.main(words[1:]) == 0
    return api.open_result(out)


@pytest.mark.parametrize("wishes", JOBS.values(), ids=JOBS)
def test_script_and_command_give_the_same_bits(folder, tmp_path, wishes):
    first = jobs.run(folder, None, **wishes)[-1].result
    assert scripted(first.record, folder).digest() == first.digest()
    assert commanded(first.record, folder, tmp_path / "r.ome.zarr").digest() == first.digest()


def test_nothing_in_a_stranger_s_record_becomes_code(folder):
    record = dict(jobs.run(folder, None, **JOBS["expected"])[-1].result.record)
    evil = "x\nraise SystemExit('executed')  #"
    limits = {"vessels": [0.0, 1.0], "nuclei": [0.0, 1.0], f"vessels=0){evil}": [0.0, 1.0]}
    record |= {"versions": {evil: evil}, "normalisation": limits, "device": f"cpu'{evil}"}
    record["model"] = {"name": f"tiny'{evil}", "sha256": evil}
    opening = open_slide_lines(Opening(f"a'{evil}.tif", {"vessels_channel": f"b'{evil}"}))
    tree = ast.parse(as_python(record, opening))
    kinds = [type(statement).__name__ for statement in tree.body]
    assert kinds == [*["ImportFrom"] * 2, *["Assign"] * 4]
    words = shlex.split(as_command(record, opening_of(record)))
    assert words[words.index("--device") + 1] == f"cpu'{evil}"


def test_areas_are_in_the_script_and_no_option(folder):
    triangle = ((20.0, 30.0), (180.0, 60.0), (90.0, 200.0))
    first = jobs.run(folder, None, areas=Areas(((triangle,),), "tumour"))[-1].result
    assert scripted(first.record, folder).digest() == first.digest()
    with pytest.raises(ValueError, match="copy as Python"):
        as_command(first.record, opening_of(first.record))


def test_two_files_without_a_pixel_size_are_opened_as_they_were(folder, tmp_path):
    files = [tmp_path / "it's CD31.tif", tmp_path / "it's DAPI.tif"]
    for path, plane in zip(files, tifffile.imread(folder / "section.ome.tif"), strict=True):
        tifffile.imwrite(path, plane)
    slide = api.open_slide(files[0], nuclei=files[1], pixel_size_um=1.0)
    model = folder / "tiny.safetensors"
    *_, last = api.predict(slide, model, api.PredictConfig(**jobs.QUICK))
    first = last.result
    assert opening_of(first.record).arguments["pixel_size_um"] == 1.0
    assert scripted(first.record, folder).digest() == first.digest()
    assert commanded(first.record, folder, tmp_path / "r.ome.zarr").digest() == first.digest()


def test_a_file_that_states_its_pixel_size_is_not_told(folder):
    record = jobs.run(folder, None)[-1].result.record
    assert opening_of(record).arguments == {
        "vessels_channel": "vessels",
        "nuclei_channel": "nuclei",
    }


def test_a_section_that_was_no_file_has_none_to_name():
    from napari_damm.slide import slide_from_arrays

    slide = slide_from_arrays({"vessels": np.eye(64), "nuclei": np.eye(64)}, 1.0)
    with pytest.raises(ValueError, match="not opened from a file"):
        opening_of({"input": slide.identity})


def test_the_script_names_versions_and_the_model(folder):
    record = jobs.run(folder, None)[-1].result.record
    first_line = as_python(record, "slide = ...").splitlines()[0]
    assert f"torch {record['versions']['torch']}" in first_line
    assert record["model"]["sha256"][:12] in first_line


@pytest.mark.parametrize("lacking", ["path", "channel", "vessels"])
def test_a_record_that_names_no_file_is_refused_in_a_sentence(folder, lacking):
    record = dict(jobs.run(folder, None, **JOBS["expected"])[-1].result.record)
    vessels = {n: v for n, v in record["input"]["vessels"].items() if n != lacking}
    record["input"] = {**record["input"], "vessels": vessels}
    record["input"].pop(lacking, None)
    with pytest.raises(ValueError, match="does not name the section's files and channels"):
        opening_of(record)
