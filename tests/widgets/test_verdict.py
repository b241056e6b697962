"""A result that is opened says what it is worth: by its layers, a notification, and the panel."""

from __future__ import annotations

import numpy as np
import pytest
from fake_prediction import RECORD
from napari.components import ViewerModel
from napari.layers import Layer

from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.widgets.viewer.reader import read_result
from napari_damm.widgets.viewer.verdict import (
    VERDICT,
    VERDICT_COLOURS,
    tell_verdict,
    verdict_colour,
    verdict_in_words,
)

SHARES = {"use": 0.03, "with care": 0.97}
SWAPPED = {
    "verdict": "do not use",
    "reasons": ["vessels and nuclei look swapped"],
    "shares": SHARES,
    "causes": {"with care": "unusual images"},
}
SAID = (
    "Do not use: vessels and nuclei look swapped. Place by place 3 % of the tissue: use; 97 % with "
    "care (unusual images)"
)
COARSE = {"verdict": "with care", "reasons": ["is the pixel size right?"], "shares": SHARES}


POOR = {"model": {"name": "mine", "warning": "does not beat a linear model of the same images"}}


@pytest.mark.parametrize(
    ("trust", "said", "colour"),
    [
        ({"verdict": "use", "shares": {"use": 1}}, "Use. 100 % of the tissue: use. ", "with care"),
        (COARSE, "With care: is the pixel size right? 3 % of the tissue: use; 97 % with care. ",
         "with care"),
        (SWAPPED, f"{SAID}. ", "do not use"),
        (None, "", "with care"),
    ],
)  # fmt: skip
def test_a_model_no_better_than_a_linear_one_is_said_with_the_verdict(told, trust, said, colour):
    record = {"trust": trust, **POOR}
    line = f"{said}The model does not beat a linear model of the same images"
    assert verdict_in_words(record) == line
    assert verdict_colour(record) == VERDICT_COLOURS[colour]
    tell_verdict("np", record)
    assert told == [(f"np: {line}", True)]


def stored(path, **trust):
    record = {"mode": "expected", "slide_pixel_size_um": 1.0, "pixel_size_um": 1.0, **trust}
    layout = ResultLayout((64, 96), 1.0, (0.0, 0.0))
    cells = np.ones(layout.cells_shape, np.float32)
    maps = ShardMaps(np.full(layout.shape, 0.5, np.float32), cells, cells.astype(np.uint8))
    with ResultStore.create(path, layout, record) as store:
        store.write_shard(0, 0, maps)
        store.finish({"finished": "now"})
    return path


@pytest.fixture
def told(monkeypatch):
    """What is told by napari's notifications: the words, and whether they warn."""
    found = []
    for name, warns in (("show_warning", True), ("show_info", False)):
        where = f"napari.utils.notifications.{name}"
        monkeypatch.setattr(where, lambda said, warns=warns: found.append((said, warns)))
    return found


def opened(path, monkeypatch, viewer=None):
    viewer = ViewerModel() if viewer is None else viewer
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    for layer in read_result(str(path)):
        viewer.layers.append(Layer.create(*layer))
    return viewer


@pytest.mark.parametrize(
    ("trust", "said"),
    [
        (SWAPPED, SAID),
        (COARSE, "With care: is the pixel size right? 3 % of the tissue: use; 97 % with care"),
        ({"verdict": "use", "reasons": [], "shares": {}}, "Use"),
        ({"verdict": "use", "reasons": ["\x1b[2J"], "shares": {}}, "Use: \\x1b[2J"),
        ({}, ""),
        (None, ""),
    ],
)
def test_a_verdict_is_a_sentence_with_reasons_and_shares(trust, said):
    assert verdict_in_words({"trust": trust}) == said


def test_a_doubtful_result_says_so_when_it_is_opened(tmp_path, monkeypatch, told):
    viewer = opened(stored(tmp_path / "m1.ome.zarr", trust=SWAPPED), monkeypatch)
    assert told == [(f"m1.ome.zarr: {SAID}", True)]
    assert {layer.metadata[VERDICT] for layer in viewer.layers} == {SAID}


def test_a_good_one_says_so_without_a_warning_and_one_without_a_verdict_nothing(
    tmp_path, monkeypatch, told
):
    good = {"verdict": "use", "reasons": [], "shares": {"use": 1.0}}
    opened(stored(tmp_path / "good.ome.zarr", trust=good), monkeypatch)
    opened(stored(tmp_path / "old.ome.zarr"), monkeypatch)
    assert told == [("good.ome.zarr: Use. 100 % of the tissue: use", False)]


def test_the_panel_of_a_result_that_was_opened_shows_its_verdict_in_its_colour(
    open_widget, tmp_path, monkeypatch, told
):
    driver = open_widget()
    opened(stored(tmp_path / "m1.ome.zarr", trust=SWAPPED), monkeypatch, driver.viewer)
    assert driver.verdict.isVisible()
    assert driver.verdict.text() == SAID
    assert VERDICT_COLOURS["do not use"] in driver.verdict.styleSheet()


def test_layers_of_a_run_know_its_final_verdict(open_widget, fake_predict, monkeypatch):
    monkeypatch.setitem(RECORD, "trust", SWAPPED | {"shares": {}})
    finish = ResultStore.finish
    final = {"finished": "now", "trust": SWAPPED}  # the shares come at the end
    monkeypatch.setattr(ResultStore, "finish", lambda store, _: finish(store, final))
    driver = open_widget()
    driver.run()
    made = [layer for layer in driver.viewer.layers if "napari_damm" in layer.metadata]
    assert [layer.metadata[VERDICT] for layer in made] == [SAID] * 3
