"""Power by wavelength, on waves made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import spectrum

EDGES = (2.0, 4.0, 8.0, 16.0)


def wave(wavelength: float, height: float = 1.0, size: int = 128, axis: int = 0) -> np.ndarray:
    line = height * np.sin(2 * np.pi * np.arange(size) / wavelength)
    return np.broadcast_to(line[:, None] if axis == 0 else line[None, :], (size, size))


@pytest.mark.parametrize(("wavelength", "band"), [(3.0, 0), (6.0, 1), (11.0, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wave_is_in_the_band_of_its_wavelength(wavelength, band, axis) -> None:
    power = spectrum.band_power(wave(wavelength, axis=axis), EDGES)
    assert power.shape == (3,)
    assert power[band] > 0.99 * power.sum()


def test_the_finest_wave_and_every_lower_edge_count() -> None:
    checks = np.where(np.arange(128) % 2, 1.0, -1.0)[:, None] * np.ones((128, 128))
    assert spectrum.band_power(checks, EDGES)[0] > 0
    assert spectrum.band_power(wave(8.0), EDGES)[2] > spectrum.band_power(wave(8.0), EDGES)[0]


def test_power_grows_with_the_square_of_the_height() -> None:
    truth = wave(3.0) + wave(6.0) + wave(11.0)
    prediction = 0.5 * wave(3.0) + wave(6.0) + 2.0 * wave(11.0) + 7.0
    ratio = spectrum.power_ratio(truth, prediction, EDGES)
    assert ratio == pytest.approx([0.25, 1.0, 4.0], rel=0.02)


def test_blurring_takes_the_fine_bands_first() -> None:
    from scipy.ndimage import gaussian_filter

    truth = np.random.default_rng(0).normal(size=(128, 128))
    ratio = spectrum.power_ratio(truth, gaussian_filter(truth, 1.0))
    assert (np.diff(ratio) > 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrum.band_power(np.ones((8, 8)), EDGES), r"16 px or more.*\(8, 8\)"),
        (lambda: spectrum.band_power(np.ones(64), EDGES), "got shape"),
        (lambda: spectrum.band_power(np.full((64, 64), np.nan)), "finite"),
        (lambda: spectrum.band_power(np.ones((64, 64)), (1.0, 4.0)), "from 2 px"),
        (lambda: spectrum.band_power(np.ones((64, 64)), (4.0, 4.0)), "rise"),
        (lambda: spectrum.power_ratio(np.ones((64, 64)), np.ones((64, 64))), "every band"),
        (lambda: spectrum.power_ratio(np.ones((64, 64)), np.ones((64, 65))), "one shape"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
