"""Expected maps averaged over turned and mirrored copies of their windows."""

from __future__ import annotations

import jobs
import numpy as np
import pytest
from jobs import assert_steps_add_up, digest, run

from napari_damm import api
from napari_damm.engine.provenance import differences
from napari_damm.engine.reproduction import Opening, as_command, as_python
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.views import VIEWS, turned, turned_back
from napari_damm.engine.windows import WindowInput, WindowOutput

pytestmark = pytest.mark.usefixtures("quick_first_stages")

FOUR = {"mode": "expected", "steps": None, "views": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A job whose model predicts velocity."""
    return jobs.make_with_expected_map(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def whole(folder):
    """The events of an undisturbed run."""
    return run(folder, None, **FOUR)


def window(k=0):
    images = np.random.default_rng(k).uniform(-1, 1, (2, 64, 64)).astype(np.float32)
    return WindowInput((0, k), (0, 192 * k), *images)


def outputs(model, pool, views, samples=1):
    sampling = Sampling("expected", 1, 7, 0.5, 2, samples, views=views)
    *_, last = WindowSampler(model, sampling, "cpu").run(pool)
    return last


def test_every_copy_is_another_and_comes_back():
    given = window()
    copies = [turned(given, view) for view in VIEWS[8]]
    assert len({copy.primary.tobytes() for copy in copies}) == 8
    for view, copy in zip(VIEWS[8], copies, strict=True):
        cells = copy.secondary[:8, :8]
        back = turned_back(WindowOutput((0, 0), copy.primary, cells, cells), view)
        assert np.array_equal(back.np, given.primary)
        assert np.array_equal(turned(given, view).primary, copy.primary)


def test_the_map_is_the_mean_of_what_is_made_of_the_copies(folder):
    model = api.load_model(folder / "tiny.safetensors", "cpu")
    pool = [window(k) for k in range(3)]
    made = outputs(model, pool, 4, samples=2)
    for k, each in enumerate(made):
        copies = [
            turned_back(outputs(model, [turned(pool[k], view)], 1)[0], view) for view in VIEWS[4]
        ]
        np.testing.assert_allclose(each.np, np.mean([c.np for c in copies], 0), atol=1e-6)
        uncertainty = np.mean([c.uncertainty for c in copies], 0)
        np.testing.assert_allclose(each.uncertainty, uncertainty, atol=1e-6)
        assert np.ptp([c.np for c in copies], 0).max() > 1e-3
    # the spread is of samples, not of copies
    alone = outputs(model, pool, 1, samples=2)
    assert all(np.array_equal(a.std, b.std) for a, b in zip(made, alone, strict=True))


@pytest.mark.parametrize("wishes", [{"lanes": 3}, {"shard": 3072}], ids=str)
def test_it_does_not_depend_on_how_it_runs(folder, whole, wishes):
    assert digest(run(folder, None, **FOUR | wishes)) == digest(whole)


def test_the_record_says_so_and_the_copied_script_too(whole):
    record = whole[-1].result.record
    assert record["views"] == 4
    assert_steps_add_up(whole)
    assert "views=4" in as_python(record, "slide = ...")
    assert "--views 4" in as_command(record, Opening("section.ome.tif", {}))
    older = {name: value for name, value in record.items() if name != "views"}
    assert differences(older, record) == ["views is 1 there and 4 here"]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="must be one of 1, 2, 4, 8, got 3"):
        api.PredictConfig(views=3)
    with pytest.raises(ValueError, match="must be 1 in mode fast, got 2"):
        api.PredictConfig(views=2, mode="fast")
