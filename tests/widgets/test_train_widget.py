"""The Fine-tune widget from the click to the new model, with a stand-in for the engine."""

from __future__ import annotations

import numpy as np
import pytest
from driver import job_threads, results
from models import with_card
from napari.layers import Image, Points
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QLineEdit, QProgressBar, QPushButton
from trainer import legend, start_and_pause

from napari_damm.widgets import PredictWidget
from napari_damm.widgets.train.learning_curves import LearningCurves

TABLE = [
    "Validation vessels",
    "Validation nuclei",
    "Validation truth",
    "Validation before",
    "Validation now",
    "Validation headings",
]


def test_controls_are_found_by_name(open_trainer):
    driver = open_trainer()
    for name in ("data", "vessels", "nuclei", "target", "region", "model", "preset", "device"):
        assert isinstance(getattr(driver, name), QComboBox)
    for name in ("start", "stop", "resume"):
        assert isinstance(getattr(driver, name), QPushButton)
    for name in ("name", "folder", "folder_primary", "folder_secondary", "folder_target"):
        assert isinstance(getattr(driver, name), QLineEdit)
    assert isinstance(driver.progress, QProgressBar)
    assert isinstance(driver.status, QLabel)
    assert driver.minutes.value() == 15


def test_the_roles_are_guessed_and_start_is_possible(open_trainer):
    driver = open_trainer()
    picked = [getattr(driver, name).currentText() for name in ("vessels", "nuclei", "target")]
    assert picked == ["vessels", "nuclei", "nanoparticles"]
    assert driver.reason.text() == ""
    assert driver.start.isEnabled()
    assert not driver.stop.isEnabled()
    assert not driver.resume.isEnabled()


def test_a_click_ends_in_a_new_model_that_predict_has_selected(open_trainer, fake_train, qtbot):
    driver = open_trainer()
    predict = PredictWidget(driver.viewer)
    qtbot.addWidget(predict)
    elsewhere = PredictWidget(type(driver.viewer)())
    qtbot.addWidget(elsewhere)
    assert driver.run("start") == (
        "Done in 1:15: SSIM 0.400 → 0.500, PSNR 17.0 → 18.0 dB on 3 validation windows; "
        "'my model' is ready in Predict; to train it longer, enter its name and click Resume"
    )
    model = predict.findChild(QComboBox, "model")
    assert model.currentText() == "my model"
    assert elsewhere.findChild(QComboBox, "model").currentText() == "tiny"
    assert driver.progress.value() == driver.progress.maximum()
    assert [driver.model.itemText(i) for i in range(driver.model.count())] == ["tiny", "my model"]
    assert driver.name.text() == "my model 2"
    assert driver.start.isEnabled()


def test_a_predict_widget_opened_later_lists_the_model(open_trainer, fake_train, qtbot):
    driver = open_trainer()
    driver.run("start")
    predict = PredictWidget(driver.viewer)
    qtbot.addWidget(predict)
    model = predict.findChild(QComboBox, "model")
    assert model.findText("my model") >= 0
    assert model.currentText() == "tiny"


def test_curves_and_validation_layers_follow_the_training(open_trainer, fake_train):
    driver = open_trainer()
    start_and_pause(driver, fake_train, 20)
    driver.wait_for(lambda: results(driver) == TABLE)
    curves = driver.widget.findChild(LearningCurves)
    driver.wait_for(lambda: curves.scores.x == [0, 20])
    assert curves.scores.y == pytest.approx([0.5, 0.55])
    assert curves.base.y == pytest.approx([0.5, 0.5])
    assert curves.uni.x[-1] == 20
    assert curves.uni.y[-1] < curves.uni.y[0]
    assert [line.xData.size for _, line in curves._lines if line.xData is not None]
    now = driver.viewer.layers["Validation now"]
    assert np.unique(np.asarray(now.data)).tolist() == [0.0, 0.5]
    assert driver.progress.text() == "learning what to trust · epoch 2 · 3:20 left"
    assert driver.progress.value() == driver.progress.maximum() / 2
    assert driver.status.text().startswith("Step 20: SSIM 0.400 → 0.450")
    driver.viewer.layers.selection.active = driver.viewer.layers["vessels"]
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_train.resume.set()
    assert np.asarray(now.data).max() == 1.0
    assert driver.viewer.layers.selection.active.name == "vessels"


def test_the_table_stands_beside_the_section_at_its_scale(open_trainer, fake_train):
    driver = open_trainer()
    driver.viewer.layers.selection.active = driver.viewer.layers["nuclei"]
    driver.run("start")
    layers = [driver.viewer.layers[name] for name in TABLE]
    *images, headings = layers
    assert all(isinstance(layer, Image) for layer in images)
    assert isinstance(headings, Points)
    for layer in layers:
        np.testing.assert_allclose(layer.scale, (2, 2))
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    lefts = [layer.extent.world[0][1] for layer in images]
    rights = [layer.extent.world[1][1] for layer in images]
    assert lefts[0] > 896
    assert all(left > right for left, right in zip(lefts[1:], rights, strict=False))
    assert len({layer.extent.world[0][0] for layer in images}) == 1
    for layer in images:
        assert tuple(layer.contrast_limits) == (0, 1)
    assert len({layer.colormap.name for layer in images[2:]}) == 1
    assert driver.viewer.layers.selection.active.name == "nuclei"
    picked = [driver.target.itemText(i) for i in range(driver.target.count())]
    assert picked == ["vessels", "nuclei", "nanoparticles"]


def test_a_second_training_has_one_table(open_trainer, fake_train):
    driver = open_trainer()
    driver.run("start")
    driver.run("start")
    assert results(driver) == TABLE
    assert driver.name.text() == "my model 3"


def test_a_validation_layer_thrown_away_stays_away(open_trainer, fake_train):
    driver = open_trainer()
    start_and_pause(driver, fake_train, 20)
    driver.wait_for(lambda: results(driver) == TABLE)
    driver.viewer.layers.remove("Validation before")
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_train.resume.set()
    assert "Validation before" not in results(driver)
    assert "Done" in driver.status.text()


def test_stopping_keeps_the_best_and_resume_continues(open_trainer, fake_train, qtbot):
    driver = open_trainer()
    predict = PredictWidget(driver.viewer)
    qtbot.addWidget(predict)
    driver.batch_size.setValue(3)
    start_and_pause(driver, fake_train, 30)
    status = driver.run("stop")
    assert status.startswith("Stopped at 75 %; the best model so far is ready in Predict as")
    assert status.endswith("Resume continues")
    assert fake_train.closed.is_set()
    assert not job_threads()
    assert predict.findChild(QComboBox, "model").currentText() == "my model"
    assert "Resume continues it" in driver.reason.text()
    assert not driver.start.isEnabled()
    curves, drawn = driver.widget._form.curves, []
    curves.begun.connect(lambda: drawn.append((list(curves.uni.x), list(curves.scores.x))))
    driver.batch_size.setValue(5)  # what is resumed keeps its settings
    fake_train.pause_after = None
    assert "Done in" in driver.run("resume")
    assert fake_train.options[-1] == {"resume": True}
    assert drawn == [([*range(1, 31)], [0, 20])]  # not begun anew
    assert curves.uni.x == [*range(1, 41)]
    _, model, config, _ = fake_train.calls[-1]
    assert (model, config.batch_size) == (None, 3)
    assert results(driver) == TABLE
    assert not driver.resume.isEnabled()


def test_stopping_before_a_validation_leaves_something_to_resume(open_trainer, fake_train):
    driver = open_trainer()
    start_and_pause(driver, fake_train, 10)
    assert driver.run("stop") == "Stopped at 25 %; Resume continues"
    assert driver.resume.isEnabled()
    assert driver.model.count() == 1


def test_a_new_name_begins_another_training(open_trainer, fake_train):
    driver = open_trainer()
    start_and_pause(driver, fake_train, 10)
    driver.run("stop")
    driver.name.setText("another")
    assert driver.start.isEnabled()
    assert not driver.resume.isEnabled()
    driver.name.setText("my model")
    assert driver.resume.isEnabled()


def test_the_controls_become_the_arguments_of_fine_tune(open_trainer, fake_train):
    driver = open_trainer()
    driver.name.setText("mine")
    driver.epochs.setValue(7)
    driver.batch_size.setValue(2)
    driver.seed.setValue(5)
    driver.device.setCurrentText("cpu")
    driver.adapt_first_stages.setChecked(True)
    driver.run("start")
    (source,), model, config, out = fake_train.calls[0]
    assert fake_train.options == [{"resume": False}]
    assert model.stem == "tiny"
    assert (config.name, config.epochs, config.minutes) == ("mine", 7, None)
    assert (config.batch_size, config.seed, config.device) == (2, 5, "cpu")
    assert config.adapt_first_stages
    assert config.preset is None
    assert out.name == "mine"
    for role, name in (
        ("primary", "vessels"),
        ("secondary", "nuclei"),
        ("target", "nanoparticles"),
    ):
        np.testing.assert_array_equal(
            np.asarray(source.images[role][0]), driver.viewer.layers[name].data
        )
    assert source.pixel_size_um == {"primary": 1.0, "secondary": 1.0, "target": 1.0}
    assert source.region is None


def test_the_length_that_was_set_last_counts(open_trainer, fake_train):
    driver = open_trainer()
    driver.epochs.setValue(3)
    driver.minutes.setValue(2)
    driver.run("start")
    assert fake_train.calls[0][2].minutes == 2


def test_folders_become_a_folder_source(open_trainer, fake_train, tmp_path, monkeypatch):
    driver = open_trainer(empty=True)
    assert "Open images first" in driver.reason.text()
    driver.data.setCurrentText("Folders")
    assert driver.reason.text() == "Choose a folder"
    folder = tmp_path / "patches"
    for name in ("CD31", "DAPI", "dots"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    driver.click("folder_browse")
    assert "has no sub-folder 'QD'" in driver.reason.text()
    driver.folder_target.setText("dots")
    driver.folder_pixel_size.setValue(0.5)
    assert driver.reason.text() == ""
    assert "Done" in driver.run("start")
    (source,), *_ = fake_train.calls[0]
    assert (source.path, source.primary, source.secondary, source.target) == (
        folder, "CD31", "DAPI", "dots",
    )  # fmt: skip
    assert source.pixel_size_um == 0.5
    assert results(driver) == TABLE


def test_a_model_of_other_modalities_names_everything(
    open_trainer, fake_train, tiny_model_file, own_folders
):
    (own_folders / "models").mkdir()
    names = ["T1", "T2", "FLAIR"]
    with_card(own_folders / "models" / "brain.safetensors", tiny_model_file, modalities=names)
    fake_train.modalities = tuple(names)
    driver = open_trainer(empty=True)
    driver.add_images("scan T1", "scan T2", "scan FLAIR")
    driver.model.setCurrentText("brain")
    picked = [getattr(driver, name).currentText() for name in ("vessels", "nuclei", "target")]
    assert picked == ["scan T1", "scan T2", "scan FLAIR"]
    driver.run("start")
    assert results(driver)[:2] == ["Validation T1", "Validation T2"]
    headings = list(driver.viewer.layers["Validation headings"].features["heading"])
    assert headings == ["T1", "T2", "truth", "before", "now"]
    assert "FLAIR as measured" in driver.legend.text()
    assert legend(driver)[:2] == ["uni-modal: T1 alone", "multi-modal: T1 and T2"]
    driver.data.setCurrentText("Folders")
    assert driver.folder_target.text() == "FLAIR"
    shown = [label.text() + label.toolTip() for label in driver.widget.findChildren(QLabel)]
    controls = driver.widget.findChildren(QComboBox) + driver.widget.findChildren(QLineEdit)
    shown += [c.toolTip() for c in controls if not c.objectName().startswith("modality")]
    words = " ".join(shown).lower()
    for other in ("vessel", "nuclei", "nanoparticle"):
        assert other not in words


def test_a_missing_layer_is_asked_for_by_its_modality(open_trainer):
    driver = open_trainer(empty=True)
    driver.add_images("vessels", "nuclei")
    assert driver.reason.text() == "Pick a nanoparticles layer"
    driver.target.setCurrentText("nuclei")
    assert driver.reason.text() == (
        "Nuclei and nanoparticles are the same channel: pick different ones"
    )


def test_a_new_model_from_scratch_has_names_of_its_own(open_trainer, fake_train):
    driver = open_trainer()
    fake_train.modalities = ("T1", "T2", "FLAIR")
    driver.preset.setCurrentText("tiny")
    assert not driver.model.isEnabled()
    assert "from scratch" in driver.model_note.text()
    for part, name in zip(("primary", "secondary", "target"), fake_train.modalities, strict=True):
        getattr(driver, f"modality_{part}").setText(name)
    assert driver.vessels_label.text() == "T1"
    assert driver.target_label.text() == "FLAIR"
    status = driver.run("start")
    assert "SSIM 0.500, PSNR 18.0 dB" in status
    _, model, config, _ = fake_train.calls[0]
    assert model is None
    assert (config.preset, config.modalities) == ("tiny", ("T1", "T2", "FLAIR"))
    assert "Validation before" not in results(driver)


def test_names_that_are_taken_say_so(open_trainer, fake_train):
    driver = open_trainer()
    driver.name.setText("tiny")
    assert "'tiny' is there already" in driver.reason.text()
    assert not driver.start.isEnabled()
    driver.name.setText("")
    assert "Enter a name" in driver.reason.text()
    driver.name.setText("../elsewhere")
    assert "cannot be called" in driver.reason.text()
    driver.name.setText("?")
    assert "name must be letters" in driver.reason.text()


def test_an_unknown_pixel_size_must_be_entered(open_trainer):
    driver = open_trainer(empty=True)
    for name in ("vessels", "nuclei", "nanoparticles"):
        driver.viewer.add_image(np.zeros((64, 64), np.uint8), name=name)
    assert driver.reason.text() == "Enter the pixel size: this layer states none"
    driver.pixel_size.setValue(0.65)
    assert driver.start.isEnabled()


def test_layers_that_do_not_overlap_say_so(open_trainer):
    driver = open_trainer()
    driver.viewer.layers["nanoparticles"].translate = (0, 5000)
    assert "'vessels' and 'nanoparticles' do not overlap" in driver.reason.text()
