"""Fine-tuning in a real napari, with the real engine and a tiny model."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from driver import job_threads
from mr_phantom import CONTRASTS, phantom
from qtpy.QtWidgets import QLabel
from training_data import images, write_folder
from trainings import base_model

from napari_damm.events import TrainStep
from napari_damm.model_file import read_card, save_model
from napari_damm.widgets.train.learning_curves import LearningCurves

TABLE = ["vessels", "nuclei", "truth", "before", "now", "headings"]


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory):
    """A random model, small enough to train in seconds."""
    path = tmp_path_factory.mktemp("bundled") / "tiny.safetensors"
    save_model(base_model(), path)
    return path


@pytest.fixture
def driver(dock_widget, own_folders):
    """The docked widget beside three stains of 320 x 576 um, set to two quick epochs."""
    driver = dock_widget("Fine-tune model")
    for name, image in zip(("vessels", "nuclei", "nanoparticles"), images().values(), strict=True):
        driver.viewer.add_image(image, name=name, scale=(1, 1), units="um")
    driver.epochs.setValue(2)
    driver.batch_size.setValue(2)
    driver.variants.setValue(2)
    driver.device.setCurrentText("cpu")
    return driver


def table(driver) -> list[str]:
    return [layer.name for layer in driver.viewer.layers if layer.name.startswith("Validation")]


def test_three_layers_become_a_model_that_predicts(driver, dock_widget, own_folders):
    predict = dock_widget("Predict nanoparticles", driver.viewer)
    status = driver.run("start")
    assert status.startswith("Done in")
    assert "'my model' is ready in Predict" in status
    assert table(driver) == [f"Validation {name}" for name in (*TABLE, "windows")]
    truth = np.asarray(driver.viewer.layers["Validation truth"].data)
    assert truth.shape == (256, 256)
    assert truth.std() > 0.01
    curves = driver.widget.findChild(LearningCurves)
    assert len(curves.uni.x) == 4
    assert len(curves.scores.x) >= 2
    assert read_card(own_folders / "models" / "my model.safetensors")["name"] == "my model"
    assert predict.model.currentText() == "my model"
    predict.mode.setCurrentText("draft")
    assert predict.run().startswith("Done in")
    assert "NP distribution" in driver.viewer.layers


def test_the_dock_stays_as_narrow_as_it_opened(dock_widget, make_napari_viewer):
    """When a training has finished the labels are lined up anew, in the style that napari has."""
    form = dock_widget("Fine-tune model", make_napari_viewer(show=True)).widget._form
    before = form.minimumSizeHint().width()
    form.show_model()
    assert form.minimumSizeHint().width() == before <= 290


@pytest.mark.slow
def test_a_stopped_training_is_resumed_to_its_end(driver, monkeypatch):
    """It is stopped after its first step, which is before any validation is due."""
    from napari_damm import api

    fine_tune, resume = api.fine_tune, threading.Event()

    def held_up(*arguments, **options):
        for event in fine_tune(*arguments, **options):
            yield event
            while isinstance(event, TrainStep) and not resume.wait(0.005):
                yield event

    monkeypatch.setattr(api, "fine_tune", held_up)
    driver.click("start")
    driver.wait_for(lambda: "learning the map" in driver.progress.text())
    assert "Resume continues" in driver.run("stop")
    assert not job_threads()
    resume.set()
    assert driver.run("resume").startswith("Done in")
    assert driver.model.findText("my model") > 0


@pytest.mark.slow
def test_a_folder_becomes_a_model(driver, tmp_path):
    driver.data.setCurrentText("Folders")
    driver.folder.setText(str(write_folder(tmp_path / "patches")))
    driver.folder_pixel_size.setValue(1.0)
    assert driver.run("start").startswith("Done in")
    assert driver.model.findText("my model") > 0


def test_what_the_engine_refuses_is_one_sentence(driver):
    blank = driver.viewer.layers["nanoparticles"]
    blank.data = np.zeros_like(blank.data)
    status = driver.run("start")
    assert "the nanoparticles image of vessels is blank" in status
    assert "\n" not in status
    assert driver.start.isEnabled()
    assert table(driver) == []


@pytest.mark.slow
def test_two_mr_contrasts_become_a_model_of_the_third(dock_widget, own_folders):
    """Trained from scratch under names of its own, which then stand in every label of Predict."""
    driver = dock_widget("Fine-tune model")
    viewer = driver.viewer
    for name, image in phantom().items():
        viewer.add_image(image, name=name, scale=(1, 1), units="mm")
    driver.preset.setCurrentText("tiny")
    for role, name in zip(("primary", "secondary", "target"), CONTRASTS, strict=True):
        getattr(driver, f"modality_{role}").setText(name)
    driver.vessels.setCurrentText("T1")
    driver.nuclei.setCurrentText("T2")
    driver.target.setCurrentText("FLAIR")
    driver.epochs.setValue(2)
    driver.batch_size.setValue(2)
    driver.variants.setValue(1)
    assert driver.run("start").startswith("Done in")
    assert {"Validation T1", "Validation T2"} <= {layer.name for layer in viewer.layers}
    card = read_card(own_folders / "models" / "my model.safetensors")
    assert card["modalities"] == list(CONTRASTS)
    assert card["pixel_size_um"] == 1000.0
    predict = dock_widget("Predict nanoparticles", viewer)
    predict.model.setCurrentText("my model")
    labels = " ".join(label.text() for label in predict.widget.findChildren(QLabel))
    assert "T1" in labels
    assert "T2" in labels
    assert "vessels" not in labels.lower()
    assert "nuclei" not in labels.lower()
    predict.vessels.setCurrentText("T1")
    predict.nuclei.setCurrentText("T2")
    predict.mode.setCurrentText("draft")
    assert predict.run().startswith("Done in")
    assert "T2 not trusted" in predict.map_legend.text()
