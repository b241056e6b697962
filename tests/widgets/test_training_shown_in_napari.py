"""What the Fine-tune widget promises, in a real napari with the real engine and a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
from driver import job_threads
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from training_data import images
from trainings import base_model

from napari_damm.model_file import read_card, save_model
from napari_damm.util.tiling import WINDOW
from napari_damm.widgets.train.learning_curves import LearningCurves

WINDOW_SIZE = (1024, 900)
DOCK_PX = 300
LEFT_AT = (1000.0, 2000.0)  # um: the section lies there


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory):
    """A random model, small enough to train in seconds."""
    path = tmp_path_factory.mktemp("bundled") / "tiny.safetensors"
    save_model(base_model(), path)
    return path


@pytest.fixture
def driver(dock_widget, make_napari_viewer, own_folders):
    """The docked widget in a shown window, set to one quick epoch beside three stains."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(*WINDOW_SIZE)
    driver = dock_widget("Fine-tune model", viewer)
    dock = driver.widget.parent()
    while not hasattr(dock, "isFloating"):
        dock = dock.parent()
    viewer.window._qt_window.resizeDocks([dock], [DOCK_PX], Qt.Orientation.Horizontal)
    place = {"scale": (1, 1), "translate": LEFT_AT, "units": "um"}
    for name, image in zip(("vessels", "nuclei", "nanoparticles"), images().values(), strict=True):
        viewer.add_image(image, name=name, **place)
    driver.epochs.setValue(1)
    driver.batch_size.setValue(2)
    driver.variants.setValue(1)
    driver.device.setCurrentText("cpu")
    return driver


@pytest.mark.slow
def test_curves_lines_and_outlines_are_seen_and_the_training_is_lengthened(driver, own_folders):
    curves = driver.widget.findChild(LearningCurves)
    driver.click("start")
    driver.wait_for(lambda: len(curves.uni.x) > 0 or not driver.widget.running)
    for _ in range(20):  # each nesting of layouts takes a round of events
        QApplication.processEvents()
    assert curves.visibleRegion().boundingRect() == curves.rect()  # nobody has to scroll
    window = driver.viewer.window._qt_window
    assert (window.width(), window.height()) == WINDOW_SIZE
    driver.wait_for(lambda: not driver.widget.running)
    assert driver.status.text().startswith("Done in"), driver.status.text()

    assert len(curves.linear.y) >= 2
    assert np.isfinite(curves.linear.y).all()
    assert np.ptp(curves.linear.y) == 0

    outlines = driver.viewer.layers["Validation windows"]
    assert outlines.visible
    low, high = driver.viewer.layers["vessels"].extent.world
    assert len(outlines.data) >= 1
    for each in outlines.data:
        corners = np.stack([outlines.data_to_world(corner)[-2:] for corner in each])
        np.testing.assert_allclose(np.ptp(corners, axis=0), WINDOW, atol=1)
        assert (corners.min(0) >= low - 1).all()
        assert (corners.max(0) <= high + 1).all()

    steps = len(curves.uni.x)
    assert not driver.resume.isEnabled()
    driver.name.setText("my model")
    assert "Resume trains it longer" in driver.reason.text()
    driver.epochs.setValue(2)
    again = driver.run("resume")
    assert again.startswith("Done in"), again
    assert curves.uni.x[-1] > steps
    card = read_card(own_folders / "models" / "my model.safetensors")
    assert card["name"] == "my model"
    assert not job_threads()


def test_a_target_of_a_corner_is_told_before_the_start(driver):
    target = driver.viewer.layers["nanoparticles"]
    target.data = np.asarray(target.data)[:100, :300]
    told = "Nanoparticles cover 16 % of the vessels image"
    assert driver.coverage.text().startswith(told)
    assert driver.coverage.isVisible()
    said = driver.run("start")
    assert "too few patches" in said
    assert driver.coverage.text().startswith(told)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.05, 0.15, "the gain in SSIM is +0.050 to +0.150"),
        (-0.02, 0.22, "the gain may be chance (-0.020 to +0.220 SSIM)"),
    ],
)
def test_a_gain_is_claimed_only_beyond_noise(dock_widget, fake_train, monkeypatch, low, high, said):
    scores = fake_train._scores
    monkeypatch.setattr(
        fake_train,
        "_scores",
        lambda step: {**scores(step), "ssim_gain_low": low, "ssim_gain_high": high},
    )
    driver = dock_widget("Fine-tune model")
    driver.add_images("vessels", "nuclei", "nanoparticles")
    status = driver.run("start")
    assert said in status
    assert ("chance" in status) == (low <= 0)
