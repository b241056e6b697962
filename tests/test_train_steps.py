"""Steps of the noise estimator: phases, losses, parts; latents and which of them a step sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import random_model, tiny_config
from training_data import layers
from trainings import base_model, config

from napari_damm.dataset import open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.model import DAMM
from napari_damm.sampling import sample_dpm_solver
from napari_damm.schedule import NoiseSchedule
from napari_damm.train.batches import Batch, Batches, Schedule
from napari_damm.train.latent_cache import LatentFile, encode_windows, latent_shape
from napari_damm.train.losses import gated_loss, joint_loss
from napari_damm.train.progress import Pace, learning_rate
from napari_damm.train.state import TrainState
from napari_damm.train.step import NoiseStep, phase_at, timestep_weights


def latents(n=4, side=4, seed=3):
    generator = torch.Generator().manual_seed(seed)
    made = (torch.randn(n, 4, side, side, generator=generator) for _ in range(3))
    return Batch(*made, torch.zeros(n, side, side))


def stepper(model, **changes):
    wishes = config(**changes)
    state = TrainState(model.unet, wishes.learning_rate, ema_decay=wishes.ema_decay)
    model.unet.train()
    return NoiseStep(model.unet, state, wishes, model.config.unet)


def gradients(model):
    return {n: p.grad.clone() for n, p in model.unet.named_parameters() if p.grad is not None}


# ---------------------------------------------------------------- the step


def test_the_gated_phase_starts_at_its_share():
    assert phase_at(0.39, config(gated_from=0.4)) == "joint"
    assert phase_at(0.4, config(gated_from=0.4)) == "gated"
    assert phase_at(0.0, config(gated_from=0.0)) == "gated"


def test_the_joint_loss_is_the_mean_of_both_branches():
    step = stepper(random_model(tiny_config()), weight_limit=0.0)
    losses = step.backward(latents(), 5, "joint", 1, 0)
    assert losses.loss == pytest.approx((losses.uni + losses.multi) / 2, rel=1e-5)


@pytest.mark.parametrize("phase", ["joint", "gated"])
def test_a_step_is_the_loss_of_its_phase(phase):
    """The same numbers as the two losses, computed by hand from the same call."""
    model = random_model(tiny_config())
    step = stepper(model, weight_limit=0.0, confidence_weight=0.01)
    batch = latents()
    made = step.backward(batch, 7, phase, 1, 0)
    generator = torch.Generator().manual_seed((0 * 1_000_003 + 7) * 64 + 500_000_000)
    t = torch.randint(1000, (4,), generator=generator)
    eps = torch.randn(batch.target.shape, generator=generator)
    x_t = NoiseSchedule().add_noise(batch.target, eps, t)
    other = random_model(tiny_config())
    other.unet.train()
    outputs = other.predict_noise(x_t, t, batch.primary, batch.secondary, phase == "gated")
    if phase == "gated":
        loss = gated_loss(outputs, eps, 0.5, 0.01).total
    else:
        loss = joint_loss(outputs, eps)
    assert made.loss == pytest.approx(float(loss.detach()), rel=1e-5)


def test_parts_add_up_to_the_whole_batch():
    """With fixed statistics the gradients of two halves are those of the whole."""
    found = []
    for parts in (1, 2):
        model = random_model(tiny_config())
        step = stepper(model)
        model.unet.eval()
        step.backward(latents(), 3, "gated", parts, 0)
        found.append(gradients(model))
    whole, halves = found
    for name, gradient in whole.items():
        torch.testing.assert_close(halves[name], gradient, rtol=1e-3, atol=1e-6)


def test_the_joint_phase_leaves_the_confidence_alone():
    model = random_model(tiny_config())
    stepper(model).backward(latents(), 3, "joint", 1, 0)
    assert not [name for name in gradients(model) if "confidence" in name]


def test_without_a_limit_all_timesteps_weigh_alike():
    assert torch.equal(timestep_weights(NoiseSchedule(), 0.0), torch.ones(1000))


def test_timesteps_weigh_by_the_error_of_the_picture_up_to_the_limit():
    schedule = NoiseSchedule()
    weights = timestep_weights(schedule, 20.0)
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)
    # the error of x_0 per error of eps is sqrt((1 - abar) / abar)
    for t in (0, 100, 500):
        abar = float(schedule.alphas_cumprod[t])
        ratio = ((1 - abar) / abar) ** 0.5 / 20.0
        assert float(weights[t] / weights[999]) == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("gamma", [2.0, 0.0], ids=["uni", "multi"])
def test_it_overfits_four_patches(four_patches, gamma):
    """What is sampled from the patches' conditions is what they are, by either branch."""
    model, batch = four_patches

    def denoise(x_t, t):
        return model.gated_noise(x_t, t, batch.primary, batch.secondary, gamma).eps

    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        sampled = sample_dpm_solver(denoise, noise, NoiseSchedule(), 16)
    error = (sampled - batch.target).square().mean() / batch.target.square().mean()
    assert float(error) < 0.1


@pytest.fixture(scope="module")
def four_patches():
    """A model that was trained long on four patches, each three times in a batch."""
    torch.manual_seed(0)
    model = DAMM(tiny_config(unet=(32, 32)))
    step = stepper(model, learning_rate=5e-3, weight_limit=0.0)
    batch, errors = latents(4), []
    repeated = Batch(*(z.repeat(3, *[1] * (z.ndim - 1)) for z in batch))
    for k in range(500):
        errors.append(step.backward(repeated, k, "joint", 1, 0).loss)
        step.state.apply(learning_rate(step.config, k, 500, k / 500), 1.0)
    assert np.mean(errors[:5]) > 0.7  # the best constant guess makes 0.80
    assert np.mean(errors[-40:]) < 0.2
    model.unet.eval()
    return model, batch


def planted(better: str) -> tuple[float, float]:
    """Mean confidence before and after training where one branch is always the better one."""
    torch.manual_seed(0)
    model = random_model(tiny_config(), seed=1)
    step = stepper(model, learning_rate=2e-3, confidence_weight=1.0, weight_limit=0.0)
    worse = model.unet.multi if better == "uni" else model.unet.uni
    with torch.no_grad():  # its output is far from any noise, and stays so
        worse.output.bias.fill_(5.0)
    for parameter in worse.parameters():
        parameter.requires_grad_(False)
    state = TrainState(model.unet, 2e-3)
    step.state = state
    seen = []
    for k in range(60):
        seen.append(step.backward(latents(4, seed=k), k, "gated", 1, 0).confidence)
        state.apply(2e-3, 1.0)
    return float(np.mean(seen[:5])), float(np.mean(seen[-5:]))


def test_confidence_falls_where_the_nuclei_mislead():
    before, after = planted("uni")
    assert after < before - 0.05
    assert after < 0.45


def test_confidence_rises_where_the_nuclei_help():
    before, after = planted("multi")
    assert after > before + 0.05
    assert after > 0.55


# ---------------------------------------------------------------- the pace


def test_progress_by_epochs_is_a_function_of_the_step():
    pace = Pace(config(), 40, clock=lambda: 1e9)
    assert [pace.progress(step) for step in (0, 10, 40, 60)] == [0, 0.25, 1, 1]


def test_progress_by_minutes_counts_what_earlier_runs_spent():
    now = iter([100.0, 100.0, 130.0, 400.0])
    pace = Pace(config(minutes=5.0), 40, spent_s=60.0, clock=lambda: next(now))
    assert pace.progress(0) == pytest.approx(60 / 300)
    assert pace.progress(0) == pytest.approx(90 / 300)
    assert pace.progress(0) == 1.0


def test_time_left_follows_from_the_steps_made():
    now = iter([0.0, 10.0])
    pace = Pace(config(), 100, clock=lambda: next(now))
    assert pace.seconds_left(pace.progress(20)) is None
    assert pace.seconds_left(pace.progress(40)) == pytest.approx(30.0)


def test_the_learning_rate_warms_up_and_falls():
    wishes = config(learning_rate=1.0)
    assert learning_rate(wishes, 0, 10_000, 0.0) == pytest.approx(1 / 100)
    assert learning_rate(wishes, 0, 100, 0.0) == pytest.approx(1 / 5)
    assert learning_rate(wishes, 5000, 10_000, 0.5) == pytest.approx(0.05 + 0.95 / 2)
    assert learning_rate(wishes, 10_000, 10_000, 1.0) == pytest.approx(0.05)


# ---------------------------------------------------------------- latents and batches


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1024)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def test_windows_are_encoded_by_the_first_stage_of_their_role():
    model = random_model(tiny_config())
    windows = torch.rand(2, 3, 16, 16) * 2 - 1
    made = encode_windows(model, windows)
    with torch.no_grad():
        assert torch.allclose(made.secondary, model.encode(windows[:, 1:2], "nuclei"), atol=1e-5)
        assert torch.allclose(made.target, model.encode(windows[:, 2:], "target"), atol=1e-5)


def test_a_model_of_three_colours_gets_grey_images():
    model = random_model(tiny_config(image_channels=3))
    windows = torch.rand(1, 3, 16, 16) * 2 - 1
    made = encode_windows(model, windows)
    with torch.no_grad():
        assert torch.equal(
            made.primary, model.encode(windows[:, :1].expand(-1, 3, -1, -1), "primary")
        )


def test_an_epoch_sees_every_patch_once_and_the_next_another_view():
    wishes = config(batch_size=2, variants=3)
    fields = list(survey(list(open_sections(layers((320, 1600)))), 1.0))
    split = split_patches(fields, 0.2, 0)
    schedule = Schedule.of(split, wishes)
    count = len(split.train)
    assert schedule.steps_per_epoch == round(count / 2)
    for epoch in range(4):
        first = epoch * schedule.steps_per_epoch
        steps = range(first, first + schedule.steps_per_epoch)
        seen = [view for step in steps for view in schedule.views(split, step)][:count]
        assert sorted(index for index, _ in seen) == list(range(count))[: len(seen)]
        assert {variant for _, variant in seen} == {epoch % 3}


def test_few_patches_fill_a_batch_with_other_views_of_them(data):
    _, split = data
    schedule = Schedule.of(split, config(batch_size=8, variants=8))
    views = schedule.views(split, 0)
    assert len(views) == len(set(views)) == 8


def test_kept_latents_are_those_that_would_be_computed(data, tmp_path):
    fields, split = data
    model = base_model()
    fresh = Batches(model, fields, split, config())
    kept = Batches(model, fields, split, config())
    kept.kept = LatentFile(tmp_path / "z" / "a.bin", latent_shape(model), 100)
    for step in (0, 1, 0, 1):
        for a, b in zip(fresh.batch(step), kept.batch(step), strict=True):
            assert torch.equal(a, b)
    assert kept.encoded == 4
    assert fresh.encoded == 8


def test_processes_share_a_batch(data):
    fields, split = data
    batches = Batches(base_model(), fields, split, config(batch_size=4, variants=8))
    whole = batches.batch(0)
    halves = [batches.batch(0, 1.0, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.target[0::2], halves[0].target)
    assert torch.equal(whole.target[1::2], halves[1].target)


def test_crops_are_used_up_to_their_share(data):
    fields, split = data
    wishes = config(crop_px=128, crop_until=0.5)
    batches = Batches(base_model(), fields, split, wishes)
    assert batches.batch(0, 0.4).target.shape[2:] == (16, 16)
    assert batches.batch(0, 0.5).target.shape[2:] == (32, 32)


def test_a_torn_record_counts_as_none(tmp_path):
    path = tmp_path / "z.bin"
    file = LatentFile(path, (4, 2, 2), 3)
    made = np.arange(48, dtype=np.float16).reshape(3, 4, 2, 2)
    file.write(1, made)
    assert file.read(0) is None
    np.testing.assert_array_equal(file.read(1), made)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert LatentFile(path, (4, 2, 2), 3).read(1) is None


def test_a_full_disk_ends_the_keeping_and_is_told(tmp_path, monkeypatch):
    import errno
    import os

    file = LatentFile(tmp_path / "z.bin", (4, 2, 2), 3)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    file.write(0, np.zeros((3, 4, 2, 2), np.float16))
    assert "disk is full" in file.trouble
    assert file.read(0) is None


def test_latents_that_would_fill_the_disk_are_not_kept(tmp_path):
    file = LatentFile(tmp_path / "z.bin", (8, 1024, 1024), 10**9)
    assert "computed anew" in file.trouble
    assert not (tmp_path / "z.bin").exists()
