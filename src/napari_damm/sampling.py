"""Samplers: plain generators of steps over a `denoise(x_t, t) -> eps` callable.

1. Choose the timesteps: the authors' grid for DDIM, uniform in log SNR for DPM-Solver++.
2. At each, ask for the noise eps and solve for the clean latent x_0.
3. Step to the next timestep; the last step returns x_0 itself.

Randomness is passed in (`x_T`, `noise`), progress and cancelling come from being a generator.
Sources: DDIM (arXiv 2010.02502, eq. 12); DPM-Solver++ (arXiv 2211.01095, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_damm.schedule import TIMESTEPS, NoiseSchedule

Denoise = Callable[[Tensor, Tensor], Tensor]
Noise = Callable[[int], Tensor]


@dataclass(frozen=True)
class SamplerStep:
    """State after step `index` of `total`: `x` (b, c, h, w) at the next timestep.

    `t` is the timestep just denoised. After the last step `x` is the sample x_0.
    """

    index: int
    total: int
    t: int
    x: Tensor


def ddim_timesteps(steps: int) -> list[int]:
    """Return the authors' grid, descending: `torch.linspace(0, 999, steps, dtype=long)`."""
    _check_steps(steps)
    if steps == 1:
        return [TIMESTEPS - 1]
    grid = torch.linspace(0, TIMESTEPS - 1, steps, dtype=torch.long)
    return [int(t) for t in grid.flip(0)]


def log_snr_timesteps(schedule: NoiseSchedule, steps: int) -> list[int]:
    """Timesteps from 999 to 0 uniform in log SNR, rounded, distinct: at most `steps` of them."""
    _check_steps(steps)
    if steps == 1:
        return [TIMESTEPS - 1]
    falling = schedule.log_snr_half()
    wanted = torch.linspace(float(falling[-1]), float(falling[0]), steps, dtype=torch.float64)
    rising, at = falling.flip(0), torch.arange(TIMESTEPS - 1, -1, -1, dtype=torch.float64)
    right = torch.searchsorted(rising, wanted).clamp(1, TIMESTEPS - 1)
    share = (wanted - rising[right - 1]) / (rising[right] - rising[right - 1])
    exact = at[right - 1] + share * (at[right] - at[right - 1])
    return sorted({int(t) for t in exact.round()}, reverse=True)


def ddim_steps(
    denoise: Denoise,
    x_T: Tensor,
    schedule: NoiseSchedule,
    steps: int,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[SamplerStep]:
    """DDIM from x_T (b, c, h, w), pure noise at t = 999; eta = 1 is the authors' sampler.

    `noise(i)` gives standard normal noise (b, c, h, w) for step i, needed where eta > 0.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be in 0..1, got {eta}")
    if eta > 0 and noise is None:
        raise ValueError(f"eta {eta} needs a noise function, got None")
    times = ddim_timesteps(steps)
    x = x_T
    for i, t in enumerate(times):
        eps = denoise(x, _batch_of(t, x))
        abar_t = float(schedule.alphas_cumprod[t])
        x_0 = _clean(x, eps, abar_t)
        if i + 1 == len(times):
            x = x_0
        else:
            abar_s = float(schedule.alphas_cumprod[times[i + 1]])
            # sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)
            sigma = eta * ((1 - abar_s) / (1 - abar_t) * max(1 - abar_t / abar_s, 0.0)) ** 0.5
            x = abar_s**0.5 * x_0 + max(1 - abar_s - sigma**2, 0.0) ** 0.5 * eps
            if sigma > 0 and noise is not None:
                x = x + sigma * noise(i)
        yield SamplerStep(i, len(times), t, x)


def dpm_solver_steps(
    denoise: Denoise, x_T: Tensor, schedule: NoiseSchedule, steps: int
) -> Iterator[SamplerStep]:
    """DPM-Solver++(2M) from x_T (b, c, h, w), in steps of equal log SNR; deterministic."""
    times = log_snr_timesteps(schedule, steps)
    lam = schedule.log_snr_half()
    x, before, lam_before = x_T, None, 0.0
    for i, t in enumerate(times):
        eps = denoise(x, _batch_of(t, x))
        abar_t = float(schedule.alphas_cumprod[t])
        x_0 = _clean(x, eps, abar_t)
        if i + 1 == len(times):
            # final sigma zero: exp(-h) = 0, and a first-order step is x_0
            x = x_0
        else:
            abar_s = float(schedule.alphas_cumprod[times[i + 1]])
            h = float(lam[times[i + 1]] - lam[t])
            estimate = x_0
            if before is not None:
                # D = (1 + 1/(2r)) x_0(t) - 1/(2r) x_0(previous), r = h_previous / h
                weight = h / (2 * (float(lam[t]) - lam_before))
                estimate = (1 + weight) * x_0 - weight * before
            shrink = ((1 - abar_s) / (1 - abar_t)) ** 0.5
            gain = -(abar_s**0.5) * float(torch.expm1(torch.tensor(-h, dtype=torch.float64)))
            x = shrink * x + gain * estimate
        before, lam_before = x_0, float(lam[t])
        yield SamplerStep(i, len(times), t, x)


def sample_ddim(
    denoise: Denoise,
    x_T: Tensor,
    schedule: NoiseSchedule,
    steps: int,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Tensor:
    """Drain `ddim_steps`: the sample x_0 (b, c, h, w)."""
    return _last(ddim_steps(denoise, x_T, schedule, steps, eta, noise))


def sample_dpm_solver(denoise: Denoise, x_T: Tensor, schedule: NoiseSchedule, steps: int) -> Tensor:
    """Drain `dpm_solver_steps`: the sample x_0 (b, c, h, w)."""
    return _last(dpm_solver_steps(denoise, x_T, schedule, steps))


def _clean(x_t: Tensor, eps: Tensor, abar: float) -> Tensor:
    """Solve x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps for x_0."""
    x_0: Tensor = (x_t - (1 - abar) ** 0.5 * eps) / abar**0.5
    return x_0


def _last(steps: Iterator[SamplerStep]) -> Tensor:
    for step in steps:
        x = step.x
    return x


def _batch_of(t: int, x: Tensor) -> Tensor:
    return torch.full((x.shape[0],), t, dtype=torch.long, device=x.device)


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= TIMESTEPS:
        raise ValueError(f"steps must be in 1..{TIMESTEPS}, got {steps}")
