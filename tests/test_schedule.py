from __future__ import annotations

import pytest
import torch

from napari_damm.schedule import NoiseSchedule


def test_the_paper_s_ends_of_the_noise_process():
    abar = NoiseSchedule().alphas_cumprod
    assert abar.dtype == torch.float64
    assert len(abar) == 1000
    assert float(abar[0]) == pytest.approx(0.998, abs=1e-12)  # t = 0 is one step of noise
    assert float(abar[-1]) == pytest.approx(7.5e-5, rel=0.01)


def test_betas_are_linear_in_their_square_root():
    abar = NoiseSchedule().alphas_cumprod
    roots = (1 - abar[1:] / abar[:-1]).sqrt()
    step = (0.02**0.5 - 0.002**0.5) / 999
    torch.testing.assert_close(roots.diff(), torch.full((998,), step, dtype=torch.float64))


def test_noise_is_added_with_each_sample_s_own_time():
    schedule = NoiseSchedule()
    x_0, eps = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), -1.0)
    got = schedule.add_noise(x_0, eps, torch.tensor([0, 700]))
    for value, t in zip(got, (0, 700), strict=True):
        abar = float(schedule.alphas_cumprod[t])
        expected = 3.0 * abar**0.5 - (1 - abar) ** 0.5
        torch.testing.assert_close(value, torch.full((1, 2, 2), expected))


def test_variance_is_preserved_and_the_type_is_kept():
    schedule = NoiseSchedule()
    one, none = torch.ones(1000, 1, dtype=torch.float32), torch.zeros(1000, 1)
    t = torch.arange(1000)
    signal, noise = schedule.add_noise(one, none, t), schedule.add_noise(none, one, t)
    assert signal.dtype == torch.float32
    torch.testing.assert_close(signal.square() + noise.square(), one)


def test_the_signal_to_noise_ratio_falls_all_the_way():
    schedule = NoiseSchedule()
    lam = schedule.log_snr_half()
    assert bool((lam.diff() < 0).all())
    abar = float(schedule.alphas_cumprod[300])
    assert float(lam[300].exp()) == pytest.approx((abar / (1 - abar)) ** 0.5)
