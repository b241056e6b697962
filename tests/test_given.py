"""What is no path, no settings and no model is refused in one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_damm import api
from napari_damm.slide import slide_from_arrays

FLAT = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
SLIDE = slide_from_arrays({"vessels": FLAT, "nuclei": FLAT.T}, 1.0)
SECTIONS = api.SimulatedSource(1)


def test_settings_of_another_kind_are_refused() -> None:
    given: Any = {"mode": "fast"}
    cases: list[tuple[str, Callable[[], object]]] = [
        ("PredictConfig", lambda: list(api.predict(SLIDE, None, given))),
        ("PredictConfig", lambda: list(api.predict_batch([], None, given))),
        ("PredictConfig", lambda: api.plan(SLIDE, None, given)),
        ("TrainConfig", lambda: list(api.fine_tune(SECTIONS, None, given))),
        ("EvaluateConfig", lambda: list(api.evaluate(SECTIONS, None, given))),
        ("AnalyzeConfig", lambda: list(api.analyze("a.tif", given))),
    ]
    for name, call in cases:
        with pytest.raises(ValueError, match=rf"config must be a {name}.*give {name}\(\*\*it\)"):
            call()


def test_what_is_no_path_is_refused() -> None:
    wrong: Any = 5
    cases: list[tuple[str, Callable[[], object]]] = [
        ("path", lambda: api.open_slide(wrong)),
        ("nuclei", lambda: api.open_slide("a.tif", wrong)),
        ("store", lambda: list(api.predict(SLIDE, store=wrong))),
        ("store", lambda: api.plan(SLIDE, store=wrong)),
        ("out", lambda: list(api.fine_tune(SECTIONS, out=wrong))),
        ("out", lambda: list(api.evaluate(SECTIONS, out=wrong))),
        ("out", lambda: list(api.analyze("a.tif", out=wrong))),
    ]
    for name, call in cases:
        with pytest.raises(ValueError, match=rf"^{name} must be a path, got 5$"):
            call()
    nothing: Any = None
    with pytest.raises(ValueError, match="path must be the path of an image, got None"):
        api.open_slide(nothing)


def test_a_path_of_no_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="store must be a path, got ''"):
        list(api.predict(SLIDE, store=""))


def test_what_is_no_model_is_refused() -> None:
    wrong: Any = 5
    with pytest.raises(ValueError, match="a model is a name, a path or a DAMM, got 5"):
        list(api.predict(SLIDE, wrong))


def test_what_cannot_be_measured_is_refused_in_one_line() -> None:
    for wrong in (None, FLAT, [FLAT]):
        given: Any = wrong
        with pytest.raises(ValueError, match="a path, MapSource or MapLayers is measured") as told:
            list(api.analyze(given))
        assert "\n" not in str(told.value)
