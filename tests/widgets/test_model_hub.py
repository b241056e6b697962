"""Models that are offered to the Predict widget while it is open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_damm import model_file
from napari_damm.widgets.predict.destination import Destination, Unfinished


def models(driver) -> list[str]:
    return [driver.model.itemText(row) for row in range(driver.model.count())]


def offer(driver, monkeypatch, *names: str) -> None:
    """Add models to the list, and offer the last one."""
    (tiny,) = model_file.list_models()
    infos = [tiny, *(replace(tiny, name=name, path=Path(name)) for name in names)]
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: infos)
    driver.widget.offer_model(names[-1])


def test_a_model_that_is_offered_is_listed_and_selected(open_widget, fake_predict, monkeypatch):
    driver = open_widget()
    offer(driver, monkeypatch, "mine", "mine 2")
    assert models(driver) == ["tiny", "mine", "mine 2"]
    assert driver.model.currentText() == "mine 2"
    driver.run()
    assert fake_predict.calls[0][1] == Path("mine 2")


def test_a_result_that_is_resumed_keeps_its_model(open_widget, monkeypatch, tmp_path):
    driver = open_widget()
    begun = Unfinished({"model": {"name": "tiny"}, "mode": "fast", "roi": None}, 3072, 0, 1)
    found = Destination(tmp_path, unfinished=begun)
    monkeypatch.setattr("napari_damm.widgets.predict.save_to.look", lambda *_: found)
    driver.out.setText("somewhere")
    offer(driver, monkeypatch, "mine")
    assert models(driver) == ["tiny", "mine"]
    assert driver.model.currentText() == "tiny"
