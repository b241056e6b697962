"""Which model of the list a result was begun with, whatever it is called now."""

from __future__ import annotations

import shutil

import pytest

from napari_damm.model_file import sha256
from napari_damm.widgets.model_picker import ModelPicker


@pytest.fixture
def picker(qtbot, own_folders, tiny_model_file):
    """Three models: "tiny", "liver", another file, and "renamed", of which a record is."""
    models = own_folders / "models"
    models.mkdir()
    shutil.copy(tiny_model_file, models / "liver.safetensors")
    content = bytearray(tiny_model_file.read_bytes())
    content[-1] ^= 1
    (models / "renamed.safetensors").write_bytes(content)
    made = ModelPicker("none")
    qtbot.addWidget(made)
    made.refill()
    made.sha256 = sha256(models / "renamed.safetensors")
    return made


def test_a_model_that_was_renamed_since_is_picked_by_its_content(picker):
    assert picker.names == ["tiny", "liver", "renamed"]
    for name in ("as it was called", "liver", "renamed"):
        picker.box.setCurrentIndex(0)
        picker.pick({"name": name, "sha256": picker.sha256})
        assert picker.chosen().name == "renamed"


def test_of_equal_files_the_one_of_that_name_is_picked(picker, tiny_model_file):
    for name in ("liver", "tiny"):
        picker.pick({"name": name, "sha256": sha256(tiny_model_file)})
        assert picker.chosen().name == name


def test_without_that_content_the_name_decides_and_else_nothing_changes(picker):
    picker.pick({"name": "liver", "sha256": "0" * 64})
    assert picker.chosen().name == "liver"
    picker.pick({"name": "no such model"})
    assert picker.chosen().name == "liver"
