"""The coloured line beside Predict: each sentence for its input, and none for good input."""

from __future__ import annotations

import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_damm.widgets.predict.trust_note import FAMILIAR, TrustNote
from napari_damm.widgets.viewer.layer_slides import SlideRequest, World
from napari_damm.widgets.viewer.verdict import VERDICT_COLOURS

sys.path.insert(0, str(Path(__file__).parents[1]))
from models import CARD
from trusting import card, section


@pytest.fixture
def note(qtbot, monkeypatch):
    monkeypatch.setattr("napari_damm.model_file.read_card", lambda path: card())
    made = TrustNote()
    qtbot.addWidget(made)
    return made


def request(vessels: np.ndarray, nuclei: np.ndarray, um: float = 1.0) -> SlideRequest:
    planes = {"vessels": [vessels], "nuclei": [nuclei]}
    roles = dict.fromkeys(planes, um)
    return SlideRequest("section", planes, roles, dict.fromkeys(planes, (0.0, 0.0)), World())


def said(qtbot, note: TrustNote, asked: SlideRequest) -> str:
    with qtbot.waitSignal(note.found, timeout=60_000):
        note.ask(asked, Path("model"))
    qtbot.waitUntil(lambda: bool(note.text()), timeout=5_000)
    return note.text()


def test_good_images_are_called_familiar_in_green(qtbot, note):
    assert said(qtbot, note, request(*section())) == FAMILIAR
    assert VERDICT_COLOURS["use"] in note.styleSheet()


BAD = {
    "look swapped": lambda v, n: request(n, v),
    "both channels show the same image": lambda v, n: request(v, v),
    "nuclei image shows nothing": lambda v, n: request(v, np.full_like(n, 9)),
    "nuclei image is saturated": lambda v, n: request(v, np.minimum(n, np.percentile(n, 88))),
    "is the pixel size right?": lambda v, n: request(v, n, 3.0),
    "nuclei do not fit where the vessels are": lambda v, n: request(v, np.roll(n, 30, 0)),
}


@pytest.mark.parametrize("sentence", BAD)
def test_each_sentence_comes_with_its_input(qtbot, note, sentence):
    text = said(qtbot, note, BAD[sentence](*section()))
    assert sentence in text
    assert text.startswith(("With care: ", "Do not use: "))
    assert VERDICT_COLOURS["use"] not in note.styleSheet()


def test_a_model_no_better_than_a_linear_one_is_never_green(qtbot, note, monkeypatch):
    metrics = {"metrics": {"mean": {"r": 0.7}, "linear": {"r": 0.74}}}
    monkeypatch.setattr("napari_damm.model_file.read_card", lambda path: card() | metrics)
    poor = "the model does not beat a linear model of the same images"
    assert said(qtbot, note, request(*section())) == f"{FAMILIAR}; {poor}"
    assert VERDICT_COLOURS["with care"] in note.styleSheet()
    note.clear_answer()
    vessels, nuclei = section()
    text = said(qtbot, note, request(nuclei, vessels))
    assert text.endswith(f"; {poor}")
    assert "look swapped" in text


def test_a_model_that_does_not_know_says_nothing(qtbot, note, monkeypatch):
    said(qtbot, note, request(*section()))
    monkeypatch.setattr("napari_damm.model_file.read_card", lambda path: CARD)
    with qtbot.waitSignal(note.found, timeout=60_000):
        note.ask(request(*section()), Path("model"))
    qtbot.waitUntil(lambda: not note.text(), timeout=5_000)


def test_an_answer_to_an_earlier_question_is_dropped(qtbot, note):
    note.clear_answer()
    note.found.emit(0, None)
    note.ask(request(*section()), Path("model"))
    note.clear_answer()
    with qtbot.waitSignal(note.found, timeout=60_000):
        pass
    assert note.text() == ""


def test_the_widget_looks_as_soon_as_layers_are_picked(open_widget, qtbot, monkeypatch):
    asked = []
    monkeypatch.setattr(TrustNote, "ask", lambda self, request, model: asked.append(request))
    driver = open_widget()
    assert len(asked) == 1
    driver.pixel_size.setValue(3.0)
    assert len(asked) == 2
    assert set(asked[-1].planes) == {"vessels", "nuclei"}


def test_every_slice_is_looked_at_and_none_twice(open_widget, monkeypatch):
    asked = []

    def ask(self, request, model):
        asked.append(int(np.asarray(request.planes["vessels"][0][0:1, 0:1])[0, 0]))

    monkeypatch.setattr(TrustNote, "ask", ask)
    driver = open_widget(empty=True)
    for name in ("vessels", "nuclei"):
        slices = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((64, 64), np.uint8)
        place = {"scale": (3, 1, 1), "units": "um", "axis_labels": ("z", "y", "x")}
        driver.viewer.add_image(da.from_array(slices, (1, 64, 64)), name=name, **place)
    asked.clear()
    nuclei = driver.viewer.layers["nuclei"]
    for z in range(1, 9):
        driver.viewer.dims.current_step = (z, 0, 0)
        nuclei.name = f"nuclei {z}"  # the same planes
    assert asked == list(range(1, 9))
