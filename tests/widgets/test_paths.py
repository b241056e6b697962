"""Paths that cannot be looked up are refused in one sentence, wherever they are entered."""

from __future__ import annotations

import errno
import os

import pytest

HOSTILE = {
    "too long": "n" * 300,
    "a NUL": "res\0ult",
    "a lone surrogate": "res\ud800ult",
    "no such home": "~nobody-of-this-name/result",
}


def enter(line, text: str) -> None:
    """Set a text; PySide6 lets no lone surrogate into one, so there is nothing to refuse."""
    line.setText(text)
    if "\ud800" in text and line.text() != text:
        pytest.skip("this Qt binding drops lone surrogates")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_result_cannot_go_to_such_a_path(open_widget, tmp_path, text):
    driver = open_widget()
    enter(driver.out, text if text.startswith("~") else str(tmp_path / text))
    assert "cannot be looked up" in driver.reason.text()
    assert not driver.predict.isEnabled()
    driver.out.setText(str(tmp_path / "free"))
    assert driver.predict.isEnabled()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_folder_to_train_on_cannot_be_such_a_path(open_trainer, tmp_path, text):
    driver = open_trainer()
    driver.data.setCurrentText("Folders")
    enter(driver.folder, text if text.startswith("~") else str(tmp_path / text))
    assert "cannot be looked up" in driver.reason.text()
    assert not driver.start.isEnabled()


@pytest.mark.parametrize("name", ["n" * 300, "n" * 250, "my\0model", "my\ud800model"])
def test_a_model_cannot_be_called_so(open_trainer, name):
    driver = open_trainer()
    enter(driver.name, name)
    assert driver.reason.text() != ""
    assert not driver.start.isEnabled()
    driver.name.setText("a good name")
    assert driver.start.isEnabled()


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder that nobody may look into; permissions alone would not stop an administrator."""
    folder, stat = tmp_path / "locked", os.stat
    folder.mkdir()

    def refuse(path, *arguments, **options):
        if isinstance(path, str | os.PathLike) and folder in (tmp_path / path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", refuse)
    return folder


def test_a_locked_folder_is_named_where_the_result_is_to_go(open_widget, locked):
    driver = open_widget()
    driver.out.setText(str(locked / "result"))
    assert "cannot be looked up (Permission denied): choose another" in driver.reason.text()
    assert not driver.predict.isEnabled()


def test_a_locked_folder_is_named_where_the_images_are_to_come_from(open_trainer, locked):
    driver = open_trainer()
    driver.data.setCurrentText("Folders")
    driver.folder.setText(str(locked / "patches"))
    assert "cannot be looked up (Permission denied)" in driver.reason.text()
    assert not driver.start.isEnabled()


def test_trainings_in_a_locked_folder_are_named(open_trainer, locked, monkeypatch):
    driver = open_trainer()
    monkeypatch.setattr("napari_damm.train.run_folder.trainings_folder", lambda: locked / "runs")
    driver.name.setText("mine")
    assert "cannot be looked up (Permission denied)" in driver.reason.text()
