"""Samplers against diffusers, and against data whose exact denoiser is known."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from napari_damm.sampling import (
    ddim_steps,
    ddim_timesteps,
    dpm_solver_steps,
    log_snr_timesteps,
    sample_ddim,
    sample_dpm_solver,
)
from napari_damm.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule()
ABAR = SCHEDULE.alphas_cumprod
THEIRS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.002,
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
}
SAMPLERS = [
    lambda denoise, x_T, n: ddim_steps(denoise, x_T, SCHEDULE, n),
    lambda denoise, x_T, n: dpm_solver_steps(denoise, x_T, SCHEDULE, n),
]


def start(seed: int = 0, shape: tuple[int, ...] = (2, 3, 4, 4)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def gaussian_denoiser(std: float):
    """The exact noise estimate for data N(0, std^2): sqrt(1 - abar) x / (abar std^2 + 1 - abar)."""

    def denoise(x_t, t):
        abar = ABAR[t].view(-1, 1, 1, 1)
        return (1 - abar).sqrt() * x_t / (abar * std**2 + 1 - abar)

    return denoise


def bent_denoiser(x_t, t):
    return gaussian_denoiser(0.5)(x_t, t) + 0.1 * torch.sin(3 * x_t)


def exact_sample(x_T: torch.Tensor, std: float) -> torch.Tensor:
    """The probability flow to t = 0 keeps the quantile; then the last step's x_0."""
    variance = {t: float(ABAR[t]) * std**2 + 1 - float(ABAR[t]) for t in (0, 999)}
    x = x_T * (variance[0] / variance[999]) ** 0.5
    return x * float(ABAR[0]) ** 0.5 * std**2 / variance[0]


# ---------------------------------------------------------------- grids


def test_the_log_snr_grid_of_16_steps():
    times = log_snr_timesteps(SCHEDULE, 16)
    assert times[-6:] == [123, 54, 21, 7, 2, 0]
    assert len(times) == 16
    assert times[0] == 999


@pytest.mark.parametrize("steps", [2, 3, 8, 16, 50, 200, 1000])
def test_grids_fall_from_999_to_0_without_repeats(steps):
    for times in (log_snr_timesteps(SCHEDULE, steps), ddim_timesteps(steps)):
        assert times[0] == 999
        assert times[-1] == 0
        assert len(times) <= steps
        assert all(later < earlier for earlier, later in itertools.pairwise(times))


def test_the_log_snr_grid_is_even_in_log_snr_where_timesteps_are_dense_enough():
    lam = SCHEDULE.log_snr_half()[log_snr_timesteps(SCHEDULE, 12)]
    gaps = lam.diff()[:-3]
    assert float(gaps.max() / gaps.min()) < 1.1


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_refused(steps):
    for grid in (ddim_timesteps, lambda n: log_snr_timesteps(SCHEDULE, n)):
        with pytest.raises(ValueError, match=rf"steps must be in 1..1000, got {steps}"):
            grid(steps)


# ---------------------------------------------------------------- against diffusers


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_agrees_with_diffusers_where_the_grid_is_even(eta):
    theirs = DDIMScheduler(**THEIRS, clip_sample=False, set_alpha_to_one=True)
    theirs.num_inference_steps = 27  # 1000 // 27 = 37 = the gap of our grid of 28
    noise = [start(seed) for seed in range(1, 29)]
    expected = start()
    for i, t in enumerate(ddim_timesteps(28)):
        eps = bent_denoiser(expected, torch.tensor([t, t]))
        extra = noise[i] if t else torch.zeros_like(eps)
        expected = theirs.step(eps, t, expected, eta=eta, variance_noise=extra).prev_sample
    got = sample_ddim(bent_denoiser, start(), SCHEDULE, 28, eta, lambda i: noise[i])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 8, 16, 30])
def test_dpm_solver_agrees_with_diffusers_on_our_grid(steps):
    theirs = DPMSolverMultistepScheduler(
        **THEIRS, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero"
    )
    theirs.set_timesteps(timesteps=log_snr_timesteps(SCHEDULE, steps))
    expected = start()
    for t in theirs.timesteps:
        eps = bent_denoiser(expected, torch.stack([t, t]))
        expected = theirs.step(eps, t, expected).prev_sample
    got = sample_dpm_solver(bent_denoiser, start(), SCHEDULE, steps)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- against the exact solution


def relative_error(sample, std: float, steps: int) -> float:
    x_T = start()
    got = sample(gaussian_denoiser(std), x_T, SCHEDULE, steps)
    exact = exact_sample(x_T, std)
    return float((got - exact).norm() / exact.norm())


@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
def test_ddim_converges_with_first_order(std):
    assert 1.7 < relative_error(sample_ddim, std, 40) / relative_error(sample_ddim, std, 80) < 2.3
    assert relative_error(sample_ddim, std, 1000) < 0.01


@pytest.mark.parametrize("std", [0.3, 1.0, 2.0])
def test_dpm_solver_is_close_in_16_steps_and_keeps_the_spread(std):
    assert relative_error(sample_dpm_solver, std, 16) < 0.025
    assert relative_error(sample_dpm_solver, std, 16) < relative_error(sample_ddim, std, 64)
    assert relative_error(sample_dpm_solver, std, 80) < 0.005


@pytest.mark.parametrize("std", [0.5, 1.0])
def test_the_authors_sampler_draws_from_the_data_s_distribution(std):
    noise = torch.Generator().manual_seed(5)
    x_T = start(1, (4, 4, 32, 32))
    got = sample_ddim(
        gaussian_denoiser(std),
        x_T,
        SCHEDULE,
        1000,
        eta=1.0,
        noise=lambda i: torch.randn(x_T.shape, generator=noise, dtype=x_T.dtype),
    )
    assert float(got.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(got.std()) == pytest.approx(std, rel=0.03)
    # the noise along the way decides, not the start
    assert abs(float(torch.corrcoef(torch.stack([got.flatten(), x_T.flatten()]))[0, 1])) < 0.05


# ---------------------------------------------------------------- generators of steps


@pytest.mark.parametrize("steps_of", SAMPLERS)
def test_steps_count_up_and_say_where_they_are(steps_of):
    steps = list(steps_of(bent_denoiser, start(), 9))
    assert [step.index for step in steps] == list(range(9))
    assert {step.total for step in steps} == {9}
    assert steps[0].t == 999
    assert steps[-1].t == 0


@pytest.mark.parametrize("steps_of", SAMPLERS)
def test_a_closed_sampler_stops_calling_the_network(steps_of):
    asked = []

    def denoise(x_t, t):
        asked.append(t.tolist())
        return torch.zeros_like(x_t)

    steps = steps_of(denoise, start(), 10)
    assert asked == []
    next(steps)
    next(steps)
    steps.close()
    assert len(asked) == 2
    assert asked[0] == [999, 999]


@pytest.mark.parametrize("steps_of", SAMPLERS)
def test_the_start_is_left_as_it_was_and_its_type_is_kept(steps_of):
    x_T = start().float()
    before = x_T.clone()
    *_, last = steps_of(bent_denoiser_float, x_T, 5)
    assert torch.equal(x_T, before)
    assert last.x.dtype == torch.float32


def bent_denoiser_float(x_t, t):
    return bent_denoiser(x_t, t).float()


@pytest.mark.parametrize("sample", [sample_ddim, sample_dpm_solver])
def test_a_single_step_returns_the_clean_estimate_from_pure_noise(sample):
    abar = float(ABAR[999])
    expected = start() * (1 - (1 - abar) ** 0.5 * 0.5) / abar**0.5
    got = sample(lambda x_t, t: 0.5 * x_t, start(), SCHEDULE, 1)
    torch.testing.assert_close(got, expected)


def test_noise_is_asked_for_once_per_step_but_the_last():
    asked = []

    def noise(i):
        asked.append(i)
        return torch.zeros(2, 3, 4, 4, dtype=torch.float64)

    sample_ddim(bent_denoiser, start(), SCHEDULE, 6, eta=1.0, noise=noise)
    assert asked == [0, 1, 2, 3, 4]


def test_an_eta_out_of_range_or_without_noise_is_refused():
    with pytest.raises(ValueError, match=r"eta must be in 0..1, got 1.5"):
        sample_ddim(bent_denoiser, start(), SCHEDULE, 5, eta=1.5)
    with pytest.raises(ValueError, match=r"eta 0.5 needs a noise function"):
        sample_ddim(bent_denoiser, start(), SCHEDULE, 5, eta=0.5)
