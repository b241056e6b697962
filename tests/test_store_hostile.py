"""A result from elsewhere is checked before it is believed, and never leads out of its folder."""

from __future__ import annotations

import json
import os

import pytest
from stores import stored

from napari_damm.store import ResultLayout, ResultStore, open_result

LAYOUT = ResultLayout((300, 600), 0.5, shard=128)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "r.ome.zarr"
    stored(path, LAYOUT, only=[(0, 0)]).close()
    return path


def change(path, part, update):
    file = path / part / "zarr.json"
    content = json.loads(file.read_text())
    update(content)
    file.write_text(json.dumps(content))


def refusal(open_it, path, match):
    with pytest.raises(ValueError, match=match) as caught:
        open_it(path)
    message = str(caught.value)
    assert "r.ome.zarr" in message
    assert message.isprintable()
    assert len(message) < 500


@pytest.mark.parametrize(
    ("part", "update", "match"),
    [
        ("np/0", {"shape": [9, 9]}, r"shape of np/0 is \[9, 9\], expected \[300, 600\]"),
        ("np/1", {"shape": [10**12] * 2}, "shape of np/1"),
        ("status", {"shape": [10**6] * 2}, "shape of status"),
        ("branch", {"data_type": "uint64"}, "data_type of branch"),
        ("branch", {"fill_value": 2}, "fill_value of branch"),
        ("branch", {"node_type": "group"}, "node_type of branch"),
        ("branch", {"codecs": [{"name": "numcodecs.pickle"}]}, "branch is stored with"),
        ("branch", {"codecs": "bytes"}, "branch is stored with"),
        ("np/0", {"codecs": [{"name": "bytes"}]}, "sharding of np/0 is False"),
        ("uncertainty", {"chunk_grid": None}, "shard of uncertainty"),
        ("uncertainty", {"storage_transformers": [{"name": "x"}]}, "uncertainty is stored with"),
    ],
)
def test_arrays_that_are_not_those_of_the_layout_are_refused(path, part, update, match):
    change(path, part, lambda content: content.update(update))
    for open_it in (open_result, ResultStore.reopen):
        refusal(open_it, path, match)


@pytest.mark.parametrize(
    "update",
    [
        {"shape": [10**12, 10**12]},
        {"shape": [2**23, 2**23], "shard": 64},
        {"shape": [300.5, 600]},
        {"shape": "300 x 600"},
        {"shard": 0},
        {"shard": 2**40},
        {"origin": [0]},
        {"pixel_size_um": "small"},
    ],
)
def test_a_layout_beyond_any_section_is_refused(path, update):
    change(path, ".", lambda c: c["attributes"]["napari_damm_store"]["layout"].update(update))
    refusal(open_result, path, "is damaged")


@pytest.mark.parametrize(
    "update",
    [
        {"resumed": 7},
        {"resumed": [{}]},
        {"failed": 7},
        {"windows": "six"},
        {"windows": -1},
        {"multi_modal_windows": None},
        {"seconds": "long"},
        {"normalisation": {"vessels": 1, "nuclei": [0, 1]}},
        {"normalisation": "0 to 1"},
        {"versions": [1]},
        {"versions": {"torch": 2}},
        {"normalisation": {"vessels=evil()": [0, 1], "nuclei": [0, 1]}},
        {"model": {"name": 7}},
        {"model": {"training_data": {"description": 7}}},
        {"model": {"training_data": "simulated"}},
        {"model": {"modalities": ["a"]}},
        {"model": {"modalities": "abc"}},
        {"model": {"modalities": ["a", "b", 3]}},
        {"model": {"warning": 7}},
        {"precision": 16},
        {"precision": None},
        {"start": 3},
        {"views": "8"},
        {"timesteps": 8},
        {"timesteps": ["last"]},
        {"input": {"kind": "files"}},
        {"input": {"kind": "files", "vessels": "a.tif", "nuclei": {}}},
        {"input": {"kind": "files", "vessels": {"path": 7}, "nuclei": {}}},
        {"input": {"kind": "files", "vessels": {"z": "0"}, "nuclei": {}}},
        {"model": "tiny"},
        {"roi": [0, 0, 64]},
        {"finished": 1},
    ],
)
def test_a_record_whose_entries_are_of_another_kind_is_refused(path, update):
    change(path, ".", lambda content: content["attributes"]["napari_damm"].update(update))
    refusal(open_result, path, f"is damaged .*{next(iter(update))} in the job record")


@pytest.mark.parametrize(
    "text", ["Infinity", "NaN", "9" * 400, "[" * 100_000 + "]" * 100_000, '"\\ud800"']
)
def test_metadata_beyond_the_bounds_of_json_is_refused(path, text):
    file = path / "zarr.json"
    file.write_text(file.read_text().replace('"seed": 3', f'"seed": {text}', 1))
    refusal(open_result, path, "is not a napari-damm result")


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "writer.lock", "writer.json", "np/0/c", "branch"]
)
def test_nothing_is_written_through_a_link(path, tmp_path, name):
    outside, place = tmp_path / "outside", path / name
    if place.is_dir():
        place.rename(outside)
    else:
        outside.write_text("precious")
        place.unlink(missing_ok=True)
    place.symlink_to(outside)
    before = contents(outside)
    refusal(ResultStore.reopen, path, f"{name} in it is a link")
    assert contents(outside) == before
    assert place.is_symlink()


def test_a_journal_that_is_another_file_too_is_not_appended_to(path, tmp_path):
    os.link(path / "journal.jsonl", tmp_path / "elsewhere")
    refusal(ResultStore.reopen, path, r"journal\.jsonl in it is a file elsewhere too")


def test_a_pipe_in_the_place_of_metadata_is_not_waited_for(path):
    (path / "branch/zarr.json").unlink()
    os.mkfifo(path / "branch/zarr.json")
    refusal(open_result, path, "not a regular file")


def contents(place):
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    return {str(file): file.read_bytes() for file in files}
