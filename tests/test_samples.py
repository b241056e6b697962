"""Several samples of a section: their mean, their spread, the same however it runs."""

from __future__ import annotations

from functools import partial

import crashing
import jobs
import numpy as np
import pytest
from jobs import assert_steps_add_up, digest, of, run
from models import CARD, random_model, tiny_config, with_card

from napari_damm import api, cli
from napari_damm.engine import sampler, timing
from napari_damm.engine.noise import window_noise
from napari_damm.engine.provenance import differences
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput, WindowOutput, combine
from napari_damm.events import Planned, ShardDone, Tile
from napari_damm.model_file import read_card, spread_factor
from napari_damm.store.layout import halve

pytestmark = pytest.mark.usefixtures("quick_first_stages")

SIDE = 64
BAD_FACTORS = [0, -1.0, float("nan"), float("inf"), "wide", True, None]


@pytest.fixture(scope="module")
def whole(folder):
    """The events of a run of two samples that nothing befell."""
    return run(folder, None, samples=2)


def draw(image, uncertainty=0.0, branch=1):
    cells = np.ones((1, 1), np.float32)
    image = np.array(image, np.float32)
    return WindowOutput((0, 0), image, cells * uncertainty, (cells * branch).astype(np.uint8))


# ---------------------------------------------------------------- one window


def test_samples_become_mean_spread_and_majority():
    draws = [draw([[0, 5]], 0.1, 1), draw([[1, 5]], 0.2, 2), draw([[2, 5]], 0.6, 2)]
    combined = combine(draws, spread_factor=1.5)
    assert combined.np.tolist() == [[1, 5]]
    assert combined.std is not None
    assert combined.std.tolist() == [[1.5, 0]]  # n - 1 = 2 in the denominator
    assert combined.uncertainty == pytest.approx(0.3)
    assert combined.branch.tolist() == [[2]]
    assert (combined.np.dtype, combined.std.dtype) == (np.float32, np.float32)
    assert combined.uncertainty.dtype == np.float32


@pytest.mark.parametrize(
    ("branches", "verdict"), [((1, 2), 2), ((1, 1, 2), 1), ((2, 1, 1, 2), 2), ((1, 1), 1)]
)
def test_a_cell_is_multi_modal_where_at_least_half_of_the_samples_are(branches, verdict):
    assert combine([draw([[0]], branch=b) for b in branches]).branch.tolist() == [[verdict]]


def test_a_single_sample_is_left_as_it_is():
    only = draw([[0.5]])
    assert combine([only], spread_factor=2.0) is only
    assert only.std is None


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))


def windows(count):
    rng = np.random.default_rng(0)
    return [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32))
        for k in range(count)
    ]


def outputs(model, pool, mode="fast", samples=1, factor=1.0):
    sampling = Sampling(mode, 3, 7, 0.5, 2, samples, factor)
    *_, last = WindowSampler(model, sampling, "cpu").run(pool)
    return last


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_each_sample_has_the_noise_stream_of_its_number(model, mode, monkeypatch):
    pool = windows(3)
    together = outputs(model, pool, mode, samples=3, factor=2.0)
    single = outputs(model, pool, mode)
    streams = []
    for k in range(3):
        monkeypatch.setattr(
            sampler, "window_noise", lambda *key, k=k: window_noise(*key[:5], stream=k)
        )
        streams.append(outputs(model, pool, mode))
    for drawn, *alone in zip(together, *streams, strict=True):
        assert drawn.window == alone[0].window
        images = np.stack([each.np for each in alone])
        assert np.array_equal(drawn.np, images.mean(axis=0, dtype=np.float64).astype(np.float32))
        spread = 2.0 * images.std(axis=0, dtype=np.float64, ddof=1)
        assert np.array_equal(drawn.std, spread.astype(np.float32))
        assert drawn.std.min() > 0
        mean = np.mean([each.uncertainty for each in alone], axis=0)
        np.testing.assert_allclose(drawn.uncertainty, mean, rtol=1e-6)
    assert all(np.array_equal(a.np, b.np) for a, b in zip(single, streams[0], strict=True))


def test_conditions_are_encoded_once_for_all_samples(model, monkeypatch):
    from napari_damm.model.damm import DAMM

    encode, calls = DAMM.encode, []

    def counted(self, image, modality):
        calls.append(modality)
        return encode(self, image, modality)

    monkeypatch.setattr(DAMM, "encode", counted)
    outputs(model, windows(2), samples=5)
    assert sorted(calls) == ["primary"] * 2 + ["secondary"] * 2


@pytest.mark.parametrize("samples", [2, 5])
def test_a_window_of_samples_is_the_same_in_any_pool(model, samples):
    pool = windows(4)
    together = outputs(model, pool, samples=samples)
    for window, pooled in zip(pool, together, strict=True):
        (alone,) = outputs(model, [window], samples=samples)
        for name in ("np", "std", "uncertainty", "branch"):
            assert np.array_equal(getattr(alone, name), getattr(pooled, name)), name


# ---------------------------------------------------------------- a whole run


@pytest.mark.parametrize(
    "wishes",
    [{"lanes": 3}, {"shard": 3072}, {"shard": 128, "order": "centre"}],
    ids=str,
)
def test_the_result_does_not_depend_on_how_it_runs(folder, whole, wishes):
    assert digest(run(folder, None, samples=2, **wishes)) == digest(whole)


@pytest.mark.slow
def test_worker_processes_give_the_same_result(folder, out, whole):
    # without the quick autoencoders, which other processes do not have
    with pytest.MonkeyPatch.context() as patch:
        _restore(patch)
        small = jobs.make(out.parent, (250, 640))
        events = run(small, out, samples=2, steps=1, workers=2)
        assert_steps_add_up(events)
        assert digest(events) == digest(run(small, None, samples=2, steps=1))


def _restore(patch):
    from napari_damm.model.damm import DAMM

    for name, method in ORIGINAL.items():
        patch.setattr(DAMM, name, method)


def _original():
    from napari_damm.model.damm import DAMM

    return {"encode": DAMM.encode, "decode": DAMM.decode}


ORIGINAL = _original()


def test_steps_count_every_sample(whole):
    planned = of(Planned, whole)[0]
    assert planned.steps == 2 * 2  # samples x steps
    assert_steps_add_up(whole)


def test_tiles_carry_the_spread_and_add_up_to_the_result(whole):
    result = whole[-1].result
    seen = np.zeros(result.np.shape, np.float32)
    for tile in of(Tile, whole):
        assert tile.np_std.shape == tile.np.shape
        height, width = tile.np.shape
        seen[tile.y : tile.y + height, tile.x : tile.x + width] = tile.np_std
    np.testing.assert_array_equal(seen.astype(np.float16), np.asarray(result.np_std))
    assert result.np_std.dtype == np.float32
    assert float(result.np_std.min()) > 0


def test_the_preview_shows_the_spread_while_it_runs(folder):
    for event in jobs.predict(folder, None, samples=2):
        if isinstance(event, Planned):
            preview = event.preview
        elif isinstance(event, Tile):
            preview.add(event)
            assert (preview.std_levels[-1] != 0).any()
        elif isinstance(event, ShardDone):
            preview.shard_done(event.row, event.col)
    result = event.result
    for live, stored in zip(preview.std_levels, result.std_levels, strict=True):
        np.testing.assert_array_equal(live[:], np.asarray(stored))


@pytest.mark.parametrize(("point", "nth"), [("shard array", 8), ("journal", 3)])
def test_a_killed_run_is_continued_to_the_same_result(point, nth, folder, out, whole):
    how = {"samples": 2}
    assert crashing.in_another_process(crashing.crash, point, nth, folder, out, how) == -9
    events = run(folder, out, resume=True, samples=2)
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)
    reopened = api.open_result(out)
    assert reopened.digest() == digest(whole)
    assert [level.shape for level in reopened.std_levels] == [
        level.shape for level in reopened.levels
    ]


def test_the_record_states_samples_and_factor_and_resuming_others_is_refused(folder, out):
    finished = run(folder, out, samples=3)[-1]
    assert finished.result.record["samples"] == 3
    assert finished.result.record["spread_factor"] == 1.0
    with pytest.raises(ValueError, match="samples is 3 there and 2 here"):
        run(folder, out, resume=True, samples=2)
    with pytest.raises(ValueError, match="samples is 3 there and 1 here"):
        run(folder, out, resume=True)
    assert api.open_result(out).digest() == finished.result.digest()


def test_a_record_of_before_samples_is_of_a_single_one(whole):
    record = dict(whole[-1].result.record)
    older = {k: v for k, v in record.items() if k not in {"samples", "spread_factor"}}
    assert differences(older, record | {"samples": 1}) == []
    assert differences(older, record) == ["samples is 1 there and 2 here"]


def test_a_single_sample_has_no_spread(folder, out):
    events = run(folder, out)
    result = events[-1].result
    assert result.np_std is None
    assert result.samples == ()
    assert result.std_levels == []
    assert result.record["samples"] == 1
    assert all(tile.np_std is None for tile in of(Tile, events))
    assert of(Planned, events)[0].preview.std_levels == []
    assert not (out / "np_std").exists()


def test_the_spread_of_a_result_is_an_ome_zarr_pyramid_too(folder, out):
    validation = pytest.importorskip("yaozarrs")
    result = run(folder, out, samples=2)[-1].result
    image = validation.validate_zarr_store(str(out))
    assert image is not None
    assert np.asarray(result.std_levels[0]).shape == jobs.SHAPE


def test_each_sample_is_kept_in_means_of_four_by_four_pixels():
    blocks = np.kron([[1.0, 3.0]], np.ones((4, 4)))
    combined = combine([draw(blocks), draw(3 * blocks)])
    assert combined.samples is not None
    assert combined.samples.tolist() == [[[1, 3]], [[3, 9]]]


def test_the_mean_of_the_kept_samples_is_the_map_in_such_means(whole):
    result = whole[-1].result
    assert [sample.shape for sample in result.samples] == [(110, 160)] * 2
    mean = np.mean([np.asarray(sample) for sample in result.samples], axis=0)
    coarse = halve(halve(np.asarray(result.np)))
    np.testing.assert_allclose(mean, coarse, atol=1e-3 * np.abs(coarse).max())
    assert not np.array_equal(*map(np.asarray, result.samples))


# ---------------------------------------------------------------- the card's factor


def test_the_spread_is_scaled_by_the_card_s_factor(folder, tmp_path, whole):
    scaled = with_card(tmp_path / "tiny.safetensors", folder / "tiny.safetensors", spread_factor=2)
    (tmp_path / "section.ome.tif").symlink_to(folder / "section.ome.tif")
    assert spread_factor(read_card(scaled)) == 2.0
    result, plain = run(tmp_path, None, samples=2)[-1].result, whole[-1].result
    assert result.record["spread_factor"] == 2.0
    np.testing.assert_allclose(result.np_std, 2 * plain.np_std, rtol=2e-3)
    np.testing.assert_array_equal(result.np, plain.np)


@pytest.mark.parametrize("factor", BAD_FACTORS)
def test_a_factor_that_cannot_be_is_refused(folder, factor):
    with pytest.raises(ValueError, match="spread_factor must be a finite number above 0, got"):
        spread_factor({**CARD, "spread_factor": factor})
    model = api.load_model(folder / "tiny.safetensors", "cpu")
    model.card["spread_factor"] = factor
    slide = api.open_slide(folder / "section.ome.tif")
    with pytest.raises(ValueError, match="spread_factor must be"):
        next(api.predict(slide, model, api.PredictConfig(samples=2)))


def test_a_model_file_with_such_a_factor_is_named(folder, tmp_path):
    path = with_card(tmp_path / "m.safetensors", folder / "tiny.safetensors", spread_factor=-1)
    with pytest.raises(ValueError, match=r"m\.safetensors has an unusable card: spread_factor"):
        read_card(path)


# ---------------------------------------------------------------- asking for samples


@pytest.mark.parametrize("samples", [0, -3, 65])
def test_an_impossible_number_is_refused_in_one_sentence(samples):
    with pytest.raises(ValueError, match=rf"samples must be in 1\.\.64, got {samples}"):
        api.PredictConfig(samples=samples)


def test_the_plan_counts_every_sample(folder, out, monkeypatch):
    # whatever is timed takes a second: two encoders, a decoder, a step of two windows
    monkeypatch.setattr(timing, "_since", lambda start, device: 1.0)
    slide = api.open_slide(folder / "section.ome.tif")
    ask = partial(api.plan, slide, folder / "tiny.safetensors", store=out)
    one, eight = (ask(api.PredictConfig(**jobs.QUICK | {"samples": k})) for k in (1, 8))
    assert "8 samples of each window" in str(eight)
    assert "samples" not in str(one)
    assert eight.memory_bytes > one.memory_bytes
    assert eight.disk_bytes - 2**20 > 1.9 * (one.disk_bytes - 2**20)
    assert one.seconds == 6 * (1 + 1 + 2 / 2)
    assert eight.seconds == 6 * (1 + 8 + 8 * 2 / 2)


def command(folder, out, *more):
    section, model = folder / "section.ome.tif", folder / "tiny.safetensors"
    given = ["--out", out, "--model", model, "--steps", 2, "--device", "cpu", *more]
    return cli.main(["predict", *map(str, [section, *given])])


def test_the_command_line_draws_samples(folder, out, capfd):
    assert command(folder, out, "--samples", 2) == 0
    assert "mean of 2" in capfd.readouterr().out
    assert api.open_result(out).np_std is not None
    assert command(folder, out, "--samples", 3, "--resume") == 2
    assert "samples is 2 there and 3 here" in capfd.readouterr().err


def test_a_dry_run_mentions_samples_and_bad_numbers_are_one_line(folder, out, capfd):
    assert command(folder, out, "--samples", 4, "--dry-run") == 0
    assert "4 samples of each window" in capfd.readouterr().out
    assert command(folder, out, "--samples", 0) == 2
    assert capfd.readouterr().err == "napari-damm: --samples must be in 1..64, got 0\n"
    assert list(out.parent.iterdir()) == []
