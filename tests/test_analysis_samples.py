"""Intervals of measures from samples, by formulas written here with numpy and scipy alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from particle_maps import measured
from scipy import ndimage, stats
from scipy.ndimage import distance_transform_edt as edt
from skimage.filters import threshold_otsu

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.trust.intervals import KEY, Intervals
from napari_damm.trust.widths import Widths

SHAPE = (330, 300)
LENGTHS = (18.0, 24.0, 31.0, 38.0)
FACTORS = {name: 1.0 + 0.25 * k for k, name in enumerate(OF_PARTICLES)}
CONFIG = AnalyzeConfig(tile_px=128)


def the_vessels():
    vessels = np.zeros(SHAPE, bool)
    vessels[40:52, 30:280] = True
    y, x = np.indices(SHAPE)
    return vessels | (np.hypot(y - 120, x - 60) < 12)


def the_nuclei():
    nuclei = np.zeros(SHAPE, np.int64)
    for number, (y, x) in enumerate(np.ndindex(12, 11), 1):
        nuclei[15 + 25 * y : 22 + 25 * y, 15 + 25 * x : 22 + 25 * x] = number
    return nuclei


VESSELS, NUCLEI = the_vessels(), the_nuclei()
TISSUE = np.zeros(SHAPE, bool)
TISSUE[10:-10, 12:-14] = True
OUTSIDE = edt(~VESSELS) - 0.5
DISTANCE = np.where(VESSELS, -(edt(VESSELS) - 0.5), OUTSIDE)


def sample(k):
    """Signal that decays over its own length, with lumps, from a part of the vessels."""
    lumps = ndimage.gaussian_filter(np.random.default_rng(k).normal(size=SHAPE), 8)
    lumps /= lumps.std()
    decay = np.exp(-np.maximum(DISTANCE, 0) / LENGTHS[k])
    decay[:, 130 + 30 * k :] *= 0.15
    return (decay * np.clip(1 + 0.25 * lumps, 0.2, 2) + 0.05).astype(np.float32)


SAMPLES = [sample(k) for k in range(len(LENGTHS))]


def by_hand(image):
    """All measures of the particles, from their definitions in docs/analyze.md."""
    image = image.astype(float)
    bright = image > threshold_otsu(image[TISSUE].astype(np.float64))
    shells = shells_of(image)
    cells = np.array([image[cell].mean() for cell in cells_of()])
    blocks = blocks_of(image)
    rim = edt(TISSUE) - 0.5 <= 0.2 * (edt(TISSUE) - 0.5).max()
    spots = edt(~(bright & (DISTANCE <= 5))) - 0.5
    return {
        "l50": half_distance(shells),
        "auc_100": 5 * shells[:20, 1].sum(),
        "extravasation_distance": centre_of_mass(shells[:20]),
        "extravasated_area": 100 * (bright & ~VESSELS)[TISSUE].mean(),
        "tissue_access_100": 100 * (spots <= 100)[TISSUE].mean(),
        "tissue_access_50": 100 * (spots <= 50)[TISSUE].mean(),
        "cell_dose": cells.mean(),
        "positive_cells": 100 * (cells > threshold_otsu(image[TISSUE])).mean(),
        "cv": blocks.std() / blocks.mean(),
        "gini": np.abs(blocks[:, None] - blocks).mean() / (2 * blocks.mean()),
        "rim_core": image[TISSUE & rim].mean() / image[TISSUE & ~rim].mean(),
    }


def shells_of(image):
    """Mean distance and signal (n, 2) of shells of 5 um, up to the first of fewer than 200."""
    found = []
    for start in range(0, 250, 5):
        shell = TISSUE & (start <= DISTANCE) & (start + 5 > DISTANCE)
        if shell.sum() < 200:
            break
        found.append((DISTANCE[shell].mean(), image[shell].mean()))
    return np.array(found)


def far(shells):
    return shells[-max(1, round(len(shells) / 5)) :, 1].mean()


def half_distance(shells):
    distance, above = shells[:, 0], shells[:, 1] - far(shells)
    slope = np.log(above[0] / above[1]) / (distance[1] - distance[0])
    edge = above[0] * np.exp(slope * distance[0])
    return np.interp(-edge / 2, -above[: np.argmin(above)], distance[: np.argmin(above)])


def centre_of_mass(shells):
    above = np.maximum(shells[:, 1] - far(shells), 0)
    return (above * shells[:, 0]).sum() / above.sum()


def cells_of():
    """Pixels within 2 um of each nucleus, in tissue."""
    for number in range(1, NUCLEI.max() + 1):
        cell = (edt(number != NUCLEI) <= 2) & TISSUE
        if cell.any():
            yield cell


def blocks_of(image):
    found = []
    for y, x in np.ndindex(-(-SHAPE[0] // 32), -(-SHAPE[1] // 32)):
        here = np.s_[32 * y : 32 * y + 32, 32 * x : 32 * x + 32]
        if TISSUE[here].sum() > 512:
            found.append(image[here][TISSUE[here]].mean())
    return np.array(found)


def pixels_of(image, box):
    return image[box.slices]


def report_of(samples, **more):
    reads = tuple(partial(pixels_of, image) for image in samples)
    report, _ = measured(
        {"particles": np.mean(samples, axis=0)}, tissue=TISSUE, samples=reads, config=CONFIG,
        vessel_labels=LabelImage(VESSELS.astype(np.int64)), nucleus_labels=LabelImage(NUCLEI),
        **more,
    )  # fmt: skip
    return {row.measure: row for row in report.rows if row.region == "tissue"}


@pytest.fixture(scope="module")
def values():
    """Each measure of each sample."""
    each = [by_hand(image) for image in SAMPLES]
    return {name: np.array([one[name] for one in each]) for name in OF_PARTICLES}


@pytest.mark.parametrize("measure", OF_PARTICLES)
def test_a_measure_of_samples_is_their_mean_and_normal_90_percent_interval(rows, values, measure):
    row, of_samples = rows[measure], values[measure]
    half = stats.norm.ppf(0.95) * of_samples.std(ddof=1)
    low, high = of_samples.mean() - half, of_samples.mean() + half
    assert row.value == pytest.approx(of_samples.mean(), rel=1e-4)
    most = 100.0 if row.unit == "%" else np.inf
    assert row.low == pytest.approx(max(low, 0), rel=1e-3, abs=1e-4)
    assert row.high == pytest.approx(min(high, most), rel=1e-3)
    assert row.level is None


@pytest.fixture(scope="module")
def rows():
    return report_of(SAMPLES)


def test_samples_differ_enough_that_the_intervals_say_something(values):
    for name in OF_PARTICLES:
        assert values[name].std() > 0.01 * values[name].mean(), name


def test_a_factor_widens_each_by_its_own(values, monkeypatch):
    monkeypatch.setattr("napari_damm.analysis.intervals.FITTED_SAMPLES", len(SAMPLES))
    card = Intervals(Widths((0.0,), (0.3,)), 1.2, 40, "s", "t", "d", {}, samples=FACTORS)
    rows = report_of(SAMPLES, record={KEY: card.to_json()})
    for name, factor in FACTORS.items():
        of_samples = values[name]
        half = factor * stats.norm.ppf(0.95) * of_samples.std(ddof=1)
        low, high = max(of_samples.mean() - half, 0), of_samples.mean() + half
        high = min(high, 100.0) if rows[name].unit == "%" else high
        assert (rows[name].low, rows[name].high) == pytest.approx((low, high), rel=1e-3), name
        assert rows[name].level == 0.9


def test_samples_that_differ_by_a_factor_alone_have_intervals_known_beforehand():
    times = np.array([0.8, 1.0, 1.2])
    rows = report_of([SAMPLES[0] * np.float32(k) for k in times])
    one = by_hand(SAMPLES[0])
    half = 1.645 * 0.2  # the standard deviation of 0.8, 1, 1.2
    for name in ("auc_100", "cell_dose"):
        assert rows[name].value == pytest.approx(one[name], rel=1e-4)
        assert rows[name].low == pytest.approx((1 - half) * one[name], rel=1e-3)
        assert rows[name].high == pytest.approx((1 + half) * one[name], rel=1e-3)
    for name in set(OF_PARTICLES) - {"auc_100", "cell_dose"}:  # of the shape alone
        row = rows[name]
        assert (row.low, row.high) == pytest.approx((row.value, row.value), rel=1e-3), name


def test_what_is_not_of_the_particles_is_the_section_s_alone(rows):
    for name in set(rows) - set(OF_PARTICLES):
        assert (rows[name].low, rows[name].high, rows[name].level) == (None, None, None)
    assert rows["vessel_area"].value == pytest.approx(100 * VESSELS[TISSUE].mean())
