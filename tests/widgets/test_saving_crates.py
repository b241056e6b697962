"""A result that is saved as an RO-Crate, or described where it lies."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QFileDialog

from napari_damm import api
from napari_damm.engine import crate
from napari_damm.engine.crate import FILE
from napari_damm.widgets.predict.saving import CRATE_FILTER


@pytest.fixture
def offered(monkeypatch, tmp_path):
    """What the dialog offered; an RO-Crate was chosen, if it could be."""
    filters = []

    def choose(parent, title, start, offered, **_):
        filters.extend(offered.split(";;"))
        return str(tmp_path / "mine"), CRATE_FILTER if CRATE_FILTER in filters else filters[0]

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    return filters


@pytest.fixture
def path(tmp_path):
    """Where the result is saved."""
    return tmp_path / "mine.ome.zarr"


def test_save_writes_the_whole_result_as_a_crate(predicted, offered, path):
    rocrate = pytest.importorskip("rocrate.rocrate")
    predicted.click("save_result")
    assert predicted.result_answer.text() == f"Saved to {path}, described in {FILE}"
    assert api.open_result(path).complete
    assert "layers in napari" in rocrate.ROCrate(path).name


def test_a_result_on_disk_is_described_where_it_lies(predicted, offered, path, plugin):
    pytest.importorskip("rocrate")
    predicted.click("save_result")
    (path / FILE).unlink()
    predicted.viewer.layers.clear()
    predicted.viewer.open(str(path), plugin="napari-damm")
    predicted.click("save_result")
    assert (path / FILE).exists()
    assert predicted.result_answer.text() == f"Saved to {path}, described in {FILE}"


def test_without_the_library_it_is_not_offered(predicted, offered, path, monkeypatch):
    monkeypatch.setattr(crate, "find_spec", lambda _: None)
    predicted.click("save_result")
    assert CRATE_FILTER not in offered
    assert predicted.result_answer.text() == f"Saved to {path}"
