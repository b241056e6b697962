"""Mode "expected": the map that is to be expected, from one evaluation; a spread beside it."""

from __future__ import annotations

from dataclasses import replace

import jobs
import numpy as np
import pytest
import torch
from jobs import assert_steps_add_up, digest, of, run
from models import CARD

from napari_damm import api
from napari_damm.engine.provenance import differences
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.events import Finished, Notice, Planned
from napari_damm.model_file import save_model
from napari_damm.schedule import NoiseSchedule

pytestmark = pytest.mark.usefixtures("quick_first_stages")

EXPECTED = {"mode": "expected", "steps": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A job whose model predicts velocity."""
    return jobs.make_with_expected_map(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def whole(folder):
    """The events of an undisturbed run."""
    return run(folder, None, **EXPECTED)


def windows(count):
    rng = np.random.default_rng(0)
    return [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, 64, 64)).astype(np.float32))
        for k in range(count)
    ]


def outputs(model, pool, mode, steps, samples=1):
    sampling = Sampling(mode, steps, 7, 0.5, 2, samples, expected_from=model.config.expected_from)
    *_, last = WindowSampler(model, sampling, "cpu").run(pool)
    return last


# ---------------------------------------------------------------- one window


def test_it_is_the_guess_of_the_clean_latent_at_the_highest_noise_from_none(folder):
    model = api.load_model(folder / "tiny.safetensors", "cpu")
    model.config = replace(model.config, expected_from="zero")
    (window,) = windows(1)
    (made,) = outputs(model, [window], "expected", 1)
    primary, secondary = (
        model.encode(torch.from_numpy(image)[None, None], role)
        for role, image in (("primary", window.primary), ("secondary", window.secondary))
    )
    with torch.inference_mode():
        x_t = torch.zeros_like(primary)
        eps = model.gated_noise(x_t, 999, primary, secondary).eps
        # of x_t = 0 the velocity is eps / sqrt(abar), and x_0 = -sqrt(1 - abar) v
        abar = NoiseSchedule().alphas_cumprod[999].float()
        image = model.decode(-((1 - abar) ** 0.5) * eps / abar**0.5)
    np.testing.assert_allclose(made.np, (image[0, 0] + 1) / 2, atol=2e-4)
    assert made.std is None


@pytest.mark.slow
def test_samples_leave_their_spread_beside_the_expected_map(folder):
    model = api.load_model(folder / "tiny.safetensors", "cpu")
    pool = windows(3)
    both = outputs(model, pool, "expected", 1, samples=3)
    alone, drawn = outputs(model, pool, "expected", 1), outputs(model, pool, "fast", 16, samples=3)
    for one, expected, samples in zip(both, alone, drawn, strict=True):
        for name in ("np", "uncertainty", "branch"):
            assert np.array_equal(getattr(one, name), getattr(expected, name)), name
        assert np.array_equal(one.std, samples.std)
        assert not np.array_equal(one.np, samples.np)


# ---------------------------------------------------------------- a whole run


def test_it_is_what_a_prediction_shows_by_default(folder, whole):
    assert api.PredictConfig().mode == "expected"
    assert api.EvaluateConfig().prediction().mode == "expected"
    record = whole[-1].result.record
    assert (record["mode"], record["steps"], record["timesteps"]) == ("expected", 1, [999])
    assert record["samples"] == 1
    assert record["start"] == "noise"
    # what an older version left unfinished started from noise, and is gone on with
    older = {name: value for name, value in record.items() if name != "start"}
    assert differences(older, record) == []
    assert differences(older, record | {"start": "zero"}) == ["start is noise there and zero here"]


def test_a_model_that_learnt_it_from_none_gives_the_same_for_every_seed(folder, tmp_path, whole):
    model = api.load_model(folder / "tiny.safetensors", "cpu")
    assert model.config.expected_from == "noise"
    (tmp_path / "section.ome.tif").symlink_to(folder / "section.ome.tif")
    model.config = replace(model.config, expected_from="zero")
    save_model(model, tmp_path / "tiny.safetensors", CARD)
    first, other = (run(tmp_path, None, **EXPECTED, seed=seed) for seed in (0, 1))
    assert first[-1].result.record["start"] == "zero"
    assert digest(first) == digest(other) != digest(whole)
    assert of(Planned, whole)[0].steps == 1
    assert_steps_add_up(whole)


@pytest.mark.parametrize("wishes", [{"lanes": 3}, {"shard": 3072}, {"order": "centre"}], ids=str)
def test_it_does_not_depend_on_how_it_runs(folder, whole, wishes):
    assert digest(run(folder, None, **EXPECTED | wishes)) == digest(whole)


@pytest.mark.slow
def test_map_and_spread_in_one_run(folder, whole, tmp_path):
    out = tmp_path / "r.ome.zarr"
    events = run(folder, out, samples=2, **EXPECTED)
    result = events[-1].result
    assert np.array_equal(np.asarray(result.np), np.asarray(whole[-1].result.np))
    assert float(result.np_std.max()) > 0
    assert of(Planned, events)[0].steps == 1 + 2 * len(Sampling("fast", 16, 0, 0.5, 2).timesteps())
    assert_steps_add_up(events)
    # it is all there: continuing computes nothing and changes nothing
    assert digest(run(folder, out, resume=True, samples=2, **EXPECTED)) == digest(events)
    with pytest.raises(ValueError, match="mode is expected there and fast here"):
        run(folder, out, resume=True, samples=2, mode="fast", steps=None)


def test_the_same_as_a_region_as_in_the_whole(folder, whole):
    part = run(folder, None, roi=(32, 64, 224, 320), **EXPECTED)[-1].result
    inside = np.asarray(whole[-1].result.np)[32:224, 64:320]
    assert np.array_equal(np.asarray(part.np), inside)


@pytest.mark.slow
def test_worker_processes_give_the_same_result(folder, tmp_path):
    from napari_damm.model.damm import DAMM

    with pytest.MonkeyPatch.context() as patch:
        # other processes do not have the quick autoencoders
        for name, method in ORIGINAL.items():
            patch.setattr(DAMM, name, method)
        events = run(folder, tmp_path / "r.ome.zarr", workers=2, **EXPECTED)
        assert digest(events) == digest(run(folder, None, **EXPECTED))


def _original():
    from napari_damm.model.damm import DAMM

    return {"encode": DAMM.encode, "decode": DAMM.decode}


ORIGINAL = _original()


@pytest.mark.slow
def test_a_model_that_predicts_noise_draws_a_plausible_map_and_says_so(tmp_path):
    jobs.make(tmp_path)
    events = run(tmp_path, None, **EXPECTED)
    assert isinstance(events[-1], Finished)
    assert events[-1].result.record["mode"] == "fast"
    assert any("cannot give the expected map" in notice.message for notice in of(Notice, events))
    assert digest(events) == digest(run(tmp_path, None, mode="fast", steps=None))


# ---------------------------------------------------------------- asking for it


def test_steps_alone_ask_for_a_plausible_map():
    assert api.PredictConfig(steps=4).mode == "fast"


def test_steps_of_the_expected_map_are_refused_in_one_sentence():
    with pytest.raises(
        ValueError, match="steps must be left out in mode expected, which takes 1, got 4"
    ):
        api.PredictConfig(mode="expected", steps=4)
