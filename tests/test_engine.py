"""The engine: the same result however it runs, the right events, and nothing left behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from models import random_model, tiny_config

from napari_damm import engine
from napari_damm.engine.blending import ShardBlender
from napari_damm.engine.config import PredictConfig
from napari_damm.engine.pipeline import pool_size
from napari_damm.events import FailedItem, Finished, Planned, ShardDone, Step, Tile
from napari_damm.slide import slide_from_arrays
from napari_damm.store import ShardStatus, open_result
from napari_damm.util.tiling import Lattice

SHAPE = (450, 300)
QUICK = {"steps": 2, "batch_size": 2}


@pytest.fixture(scope="module")
def model():
    card = {"name": "random", "pixel_size_um": 1.0}
    made = random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))
    made.card.update(card)
    return made


def section(shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 4000, shape, np.uint16) for name in ("vessels", "nuclei")}


@pytest.fixture(scope="module")
def slide():
    return slide_from_arrays(section(), pixel_size_um=1.0)


def run(slide, model, store=None, **wishes):
    return list(engine.predict(slide, model, PredictConfig(**QUICK | wishes), store))


@pytest.fixture(scope="module")
def events(slide, model):
    return run(slide, model)


@pytest.fixture(scope="module")
def result(events):
    return events[-1].result


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("napari-damm")]


@pytest.mark.parametrize(
    "wishes",
    [
        {"shard": 128},
        {"shard": 192, "order": "centre"},
        {"shard": 192, "focus": (200.0, 300.0)},
        {"lanes": 1},
        {"lanes": 3, "shard": 64},
    ],
    ids=str,
)
def test_the_result_does_not_depend_on_how_it_runs(slide, model, result, wishes):
    assert run(slide, model, **wishes)[-1].result.digest() == result.digest()


def test_a_result_on_disk_equals_one_in_memory(slide, model, result, tmp_path):
    run(slide, model, tmp_path / "r.ome.zarr")
    assert open_result(tmp_path / "r.ome.zarr").digest() == result.digest()


def test_a_region_is_the_crop_bit_for_bit(slide, model, result):
    part = run(slide, model, roi=(40, 70, 333, 290))[-1].result
    assert part.origin == (40.0, 70.0)
    assert np.array_equal(np.asarray(part.np), np.asarray(result.np)[40:333, 70:290])
    cells = np.asarray(result.branch)[1:11, 2:10]
    assert np.array_equal(np.asarray(part.branch), cells)


def test_another_seed_gives_another_sample(slide, model, result):
    assert run(slide, model, seed=1)[-1].result.digest() != result.digest()


def test_events_come_in_order_and_add_up(events):
    planned, finished = events[0], events[-1]
    assert isinstance(planned, Planned)
    assert isinstance(finished, Finished)
    tiles = [e for e in events if isinstance(e, Tile)]
    assert [t.windows_done for t in tiles] == list(range(1, planned.windows + 1))
    steps = [e for e in events if isinstance(e, Step)]
    assert steps[-1].done == steps[-1].total == planned.windows * planned.steps
    assert len([e for e in events if isinstance(e, ShardDone)]) == planned.shards
    assert finished.failed == ()


def test_the_live_canvas_ends_as_the_result(slide, model):
    for event in engine.predict(slide, model, PredictConfig(**QUICK, shard=128)):
        match event:
            case Planned():
                preview = event.preview
            case Tile():
                preview.add(event)
            case Finished():
                shown, stored = preview.np_levels[0], np.asarray(event.result.np)
                assert np.array_equal(np.asarray(shown[:, :]), stored)
                assert np.array_equal(preview.branch[:, :], np.asarray(event.result.branch))


def test_cells_are_those_of_the_windows_that_own_them(events, result):
    lattice = Lattice(SHAPE)
    by_tile = np.zeros(result.branch.shape, np.uint8)
    for tile in (e for e in events if isinstance(e, Tile)):
        height, width = tile.branch.shape
        by_tile[tile.cell_y : tile.cell_y + height, tile.cell_x : tile.cell_x + width] = tile.branch
    assert lattice.cells.shape == result.branch.shape
    assert np.array_equal(by_tile, np.asarray(result.branch))
    assert set(np.unique(by_tile)) <= {1, 2}


def test_the_record_says_what_was_run(result, model):
    record = result.record
    assert record["model"]["name"] == "random"
    assert len(record["model"]["sha256"]) == 64
    assert record["steps"] == len(record["timesteps"]) == 2
    assert record["batch_size"] == 2
    assert record["windows"] == 6
    assert record["finished"] is not None


def test_shards_are_blended_by_the_thread_that_writes_them(slide, model, monkeypatch):
    blended, by = ShardBlender._blended, []

    def noted(*args):
        by.append(threading.current_thread().name)
        return blended(*args)

    monkeypatch.setattr(ShardBlender, "_blended", noted)
    run(slide, model, shard=192)
    assert len(by) == 6
    assert set(by) == {"napari-damm writer"}


def test_closing_the_generator_ends_its_threads(slide, model):
    running = engine.predict(slide, model, PredictConfig(steps=50, batch_size=2))
    while not isinstance(next(running), Step):
        pass
    assert threads()
    running.close()
    assert not threads()


def test_an_error_in_the_network_reaches_the_caller_and_ends_all_threads(slide, model, monkeypatch):
    def broken(*args):
        raise RuntimeError("out of cheese")

    monkeypatch.setattr(model.unet, "decode_uni", broken)
    monkeypatch.setattr(model.unet, "decode_multi", broken)
    with pytest.raises(RuntimeError, match="out of cheese"):
        run(slide, model)
    assert not threads()


def test_a_window_that_cannot_be_read_is_named_and_the_rest_finishes(slide, model, monkeypatch):
    from napari_damm.engine import windows

    def read(raster, box, *rest):
        if box.y0 == 192 and box.x0 == 0:
            raise OSError("bad sector")
        return reads(raster, box, *rest)

    reads = windows.read_region
    monkeypatch.setattr(windows, "read_region", read)
    events = run(slide, model, shard=128)
    failed = [e for e in events if isinstance(e, FailedItem)]
    assert ["bad sector" in e.message for e in failed] == [True]
    finished = events[-1]
    assert len(finished.failed) == 1
    assert set(np.unique(finished.result.status)) == {ShardStatus.DONE, ShardStatus.FAILED}
    assert np.isfinite(np.asarray(finished.result.np)).all()


def test_bad_input_raises_before_any_event_and_leaves_nothing(model, tmp_path):
    images = section()
    images["nuclei"] = images["nuclei"].astype(np.float32)
    images["nuclei"][5, 5] = np.nan
    bad = slide_from_arrays(images, pixel_size_um=1.0)
    with pytest.raises(ValueError, match="nuclei"):
        next(engine.predict(bad, model, PredictConfig(**QUICK), tmp_path / "r.ome.zarr"))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_is_never_overwritten(slide, model, tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="mine"):
        next(engine.predict(slide, model, PredictConfig(**QUICK), tmp_path / "mine"))
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_slide_smaller_than_a_window_works(model):
    small = slide_from_arrays(section((70, 90)), pixel_size_um=1.0)
    result = run(small, model)[-1].result
    assert result.np.shape == (70, 90)
    assert result.branch.shape == (3, 3)


@pytest.mark.parametrize(
    ("windows", "lanes", "batch", "size"),
    [(25, 2, 4, 8), (36, 2, 4, 8), (6, 2, 4, 4), (1, 4, 4, 4), (64, 2, 4, 8), (20, 2, 8, 16)],
)
def test_pools_hold_full_batches_and_let_the_lanes_end_together(windows, lanes, batch, size):
    assert pool_size(windows, lanes, batch) == size
