"""What the widget knows about a path before anything runs."""

from __future__ import annotations

import os

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_damm.store import ResultLayout, ResultStore, ShardStatus
from napari_damm.widgets.predict.destination import LARGE_PX, look, result_path, suggest

RECORD = {"mode": "draft", "roi": None, "model": {"name": "tiny"}, "finished": None}


def begun(path, shards_done: int = 0, finished: bool = False):
    """Make a result of four shards, some of which are done."""
    layout = ResultLayout((100, 100), 1.0, shard=64)
    with ResultStore.create(path, layout, RECORD) as store:
        for position in [(0, 0), (0, 1), (1, 0), (1, 1)][:shards_done]:
            store.mark(*position, ShardStatus.BACKGROUND)
        if finished:
            store.finish({"finished": "now"})
    return path


def large_image(file) -> Image:
    pixels = da.zeros((LARGE_PX + 1, 8), chunks=1024, dtype=np.uint8)
    image = Image(pixels, contrast_limits=(0, 1))
    image._source = image.source.model_copy(update={"path": str(file)})
    return image


@pytest.mark.parametrize(
    ("entered", "name"),
    [("a", "a.ome.zarr"), ("a.zarr", "a.ome.zarr"), (" a.ome.zarr ", "a.ome.zarr"), ("a.b", None)],
)
def test_the_ending_is_added(tmp_path, entered, name):
    path = result_path(str(tmp_path / entered.strip()))
    assert path == tmp_path / (name or f"{entered}.ome.zarr")


def test_nothing_entered_means_memory():
    assert result_path("  ") is None
    assert "in memory" in look("").note
    assert "save it" in look("", large=True).note


def test_a_free_path_is_usable(tmp_path):
    found = look(str(tmp_path / "new"))
    assert (found.path, found.problem) == (tmp_path / "new.ome.zarr", "")
    assert found.unfinished is None


def test_an_unfinished_result_can_be_resumed_as_it_was_begun(tmp_path):
    found = look(str(begun(tmp_path / "a.ome.zarr", shards_done=3)))
    assert not found.problem
    assert "3 of 4 parts are done" in found.note
    assert found.unfinished.record["mode"] == "draft"
    assert (found.unfinished.shard, found.unfinished.shards_done) == (64, 3)


def test_a_result_without_a_shard_says_that_nothing_is_saved(tmp_path):
    found = look(str(begun(tmp_path / "a.ome.zarr")))
    assert "nothing is saved yet" in found.note
    assert found.unfinished is not None


def test_a_result_that_was_killed_before_its_last_word_is_unfinished(tmp_path):
    assert look(str(begun(tmp_path / "a.ome.zarr", shards_done=4))).unfinished is not None


def test_a_torn_journal_line_counts_for_nothing(tmp_path):
    path = begun(tmp_path / "a.ome.zarr", shards_done=2)
    with (path / "journal.jsonl").open("a") as journal:
        journal.write('{"shard": [1, 1], "sta')
    assert look(str(path)).unfinished.shards_done == 2


def test_what_exists_already_is_refused(tmp_path):
    finished = begun(tmp_path / "a.ome.zarr", shards_done=4, finished=True)
    assert "holds a finished result: choose another name" in look(str(finished)).problem
    (tmp_path / "b.ome.zarr").mkdir()
    assert "exists already: choose another name" in look(str(tmp_path / "b.ome.zarr")).problem
    assert "does not exist" in look(str(tmp_path / "no" / "c.ome.zarr")).problem


def test_a_name_inside_a_result_means_the_result(tmp_path):
    path = begun(tmp_path / "a.ome.zarr")
    assert result_path(str(path / "anything")) == path


@pytest.mark.parametrize("name", ["slide.ome.tif", "slide.OME.TIFF", "slide.tif", "slide.svs"])
def test_a_large_file_gets_a_path_beside_it(tmp_path, name):
    file = tmp_path / name
    file.touch()
    assert suggest(large_image(file)) == str(tmp_path / "slide.damm.ome.zarr")


def test_no_path_is_suggested_where_it_would_not_help(tmp_path, monkeypatch):
    file = tmp_path / "slide.tif"
    assert suggest(large_image(file)) == ""  # there is no such file
    file.touch()
    small = Image(np.zeros((8, 8)))
    assert suggest(small) == ""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert suggest(large_image(file)) == ""


@pytest.mark.parametrize("name", ["n" * 300, "slide\0", "slide\ud800"])
def test_no_path_is_suggested_beside_a_file_that_cannot_be(tmp_path, name):
    assert suggest(large_image(tmp_path / name)) == ""
