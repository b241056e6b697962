"""What an evaluation says of sections whose numbers are to be read with care."""

from __future__ import annotations

import numpy as np
import pytest
from evaluations import QUICK, window_model, write_tiff

from napari_damm import api
from napari_damm.dataset import SlideSource
from napari_damm.events import Notice
from napari_damm.simulate import simulate_slide


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
        yield window_model(tmp_path_factory.mktemp("model") / "a.safetensors")


def evaluate(data, model):
    """Return the report and the warnings."""
    *events, finished = api.evaluate(data, model, api.EvaluateConfig(**QUICK))
    warnings = [e.message for e in events if isinstance(e, Notice) and e.level == "warning"]
    return finished.result, warnings


def test_a_target_without_a_picture_in_part_is_judged_on_the_rest(model, tmp_path):
    drawn = simulate_slide(256, 10_000)
    images = [np.asarray(i, np.float32) for i in (drawn.vessels, drawn.nuclei, drawn.nanoparticles)]
    images[2][:112] = np.nan
    path = write_tiff(tmp_path / "a.ome.tif", *images, names=("vessels", "nuclei", "nanoparticles"))
    report, warnings = evaluate(SlideSource(path), model)
    assert report.sections[0].evaluated_px == 128 * 256
    caution = (
        "the target image of a.ome.tif is fill (one value, or NaN, at its border) in 50 % of the "
        "tissue: that part is left out"
    )
    assert caution in report.cautions
    assert caution in warnings
