"""A section on disk, predicted to disk with the real engine: cancelled, reopened, resumed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from driver import LAYERS, results

from napari_damm import api
from napari_damm.events import Planned, ShardDone, Step
from napari_damm.simulate.files import write_section
from napari_damm.store import StoreLocked
from napari_damm.store.writing import ResultStore
from napari_damm.widgets.viewer.result_maps import with_share

SIDE = 320
SMALL = {"shard": 128, "steps": 2}  # nine shards of four windows


class Engine:
    """The real engine; with `hold`, it makes no more shards after the first, until cancelled."""

    def __init__(self) -> None:
        self._predict = api.predict
        self.hold = False
        self.held = threading.Event()
        self.shards_before: list[int] = []

    def __call__(self, *arguments, **options):
        for event in self._predict(*arguments, **options):
            if isinstance(event, Planned):
                self.shards_before.append(event.shards_done)
            yield event
            while self.hold and isinstance(event, ShardDone):
                self.held.set()
                yield Step(1, 1000)


@pytest.fixture
def engine(engine_model, monkeypatch):
    """Small shards, and a section of a few hundred pixels counts as large."""
    config = api.PredictConfig
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [engine_model])
    monkeypatch.setattr("napari_damm.widgets.predict.destination.LARGE_PX", SIDE - 1)

    class Small(config):
        def __init__(self, **kw):
            super().__init__(**{**SMALL, **kw})

    monkeypatch.setattr(api, "PredictConfig", Small)
    engine = Engine()
    monkeypatch.setattr(api, "predict", engine)
    return engine


@pytest.fixture
def section(tmp_path):
    """Write a simulated section."""
    path = tmp_path / "section.ome.tif"
    write_section(api.simulate_slide(SIDE, 10_001), path)
    return path


@pytest.fixture
def open_section(dock_widget, section):
    """Open the section in a new viewer, with the widget beside it."""

    def open_():
        driver = dock_widget()
        driver.viewer.open(section, plugin="napari-damm")
        return driver

    return open_


@pytest.fixture
def store(section):
    """Say where the widget suggests to save the result."""
    return section.with_name("section.damm.ome.zarr")


def partial(driver) -> list[str]:
    """List the layers that are called partial, by the names they would have without it."""
    return [with_share(name, 1.0) for name in results(driver) if " (partial, " in name]


def cancel_after_a_shard(driver, engine) -> str:
    driver.mode.setCurrentText("draft")
    engine.hold = True
    driver.click("predict")
    driver.wait_for(engine.held.is_set)
    status = driver.cancel_run()
    engine.hold = False
    return status


@pytest.mark.slow
def test_a_run_is_cancelled_and_resumed_in_another_napari(open_section, engine, store):
    driver = open_section()
    assert driver.out.text() == str(store)
    assert driver.predict.text() == "Predict"
    status = cancel_after_a_shard(driver, engine)
    assert status.startswith("Cancelled after")
    assert status.endswith("of 9 parts; Resume continues")
    assert partial(driver) == LAYERS
    assert driver.predict.text() == "Resume"
    driver.viewer.close()

    driver = open_section()
    assert driver.out.text() == str(store)
    assert driver.predict.text() == "Resume"
    assert driver.mode.currentText() == "draft"
    assert "of 9 parts are done" in driver.out_note.text()
    stored = api.open_result(store)
    assert not stored.complete
    assert driver.run().startswith("Done in")
    assert engine.shards_before == [0, stored.shards_done]
    assert stored.shards_done > 0
    assert results(driver) == LAYERS
    assert "holds a finished result" in driver.reason.text()
    assert not driver.predict.isEnabled()

    driver.out.setText(str(store.with_name("at_once")))
    assert driver.predict.text() == "Predict"
    driver.mode.setCurrentText("draft")
    driver.run()
    resumed, at_once = (api.open_result(p) for p in (store, store.with_name("at_once.ome.zarr")))
    assert resumed.complete
    assert resumed.digest() == at_once.digest()


def test_resuming_in_the_same_viewer_goes_on_in_the_same_layers(open_section, engine, store):
    driver = open_section()
    cancel_after_a_shard(driver, engine)
    before = [layer for layer in driver.viewer.layers if "napari_damm" in layer.metadata]
    assert partial(driver) == LAYERS
    before[0].contrast_limits = (0.0, 0.5)
    before[0].name = "my map"
    driver.run()
    assert results(driver) == ["my map", *LAYERS[1:]]
    assert [layer for layer in driver.viewer.layers if layer in before] == before
    assert tuple(before[0].contrast_limits) == (0.0, 0.5)
    stored = api.open_result(store)
    np.testing.assert_array_equal(np.asarray(before[0].data), stored.np)
    np.testing.assert_array_equal(np.asarray(before[2].data), stored.branch)
    assert before[0].metadata["napari_damm"]["finished"]


@pytest.mark.slow
def test_another_image_is_refused_and_nothing_is_lost(open_section, engine, store):
    driver = open_section()
    cancel_after_a_shard(driver, engine)
    done = api.open_result(store).shards_done
    driver.click("swap")
    assert "belongs to another job" in driver.run()
    assert "--" not in driver.status.text()
    assert api.open_result(store).shards_done == done
    assert partial(driver) == LAYERS
    assert driver.predict.text() == "Resume"


@pytest.mark.slow
def test_a_store_that_someone_else_writes_is_left_alone(open_section, engine, store):
    driver = open_section()
    cancel_after_a_shard(driver, engine)
    with ResultStore.reopen(store):
        with pytest.raises(StoreLocked):
            ResultStore.reopen(store)
        assert "being written by another run" in driver.run()
    assert driver.run().startswith("Done in")


@pytest.mark.slow
def test_a_rectangle_is_predicted_alone_and_resumed(open_section, engine, store):
    driver = open_section()
    driver.mode.setCurrentText("draft")
    corners = [[10, 20], [10, 300], [200, 300], [200, 20]]
    driver.viewer.add_shapes([corners], shape_type="rectangle", name="area", units="um")
    driver.region.setCurrentText("area")
    assert "190 x 280 px" in driver.region_note.text()
    cancel_after_a_shard(driver, engine)
    driver.viewer.close()

    driver = open_section()
    assert driver.predict.text() == "Resume"
    assert driver.region.currentText() == "as it was begun"
    assert not driver.region.isEnabled()
    assert driver.run().startswith("Done in")
    result = api.open_result(store)
    assert result.record["roi"] == pytest.approx([10.5, 20.5, 200.5, 300.5], abs=1)
    assert result.np.shape == pytest.approx((191, 281), abs=1)
