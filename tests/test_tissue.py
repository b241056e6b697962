from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_damm.slide import (
    Normalisation,
    measure_normalisation,
    normalise,
    slide_from_arrays,
    tissue,
    tissue_mask,
    touches_tissue,
)
from napari_damm.tiling import Box, Lattice


@lru_cache
def light(seed, side):
    """Return what glows: blobs on haze, as vessels and nuclei look at half a um per pixel."""
    rng = np.random.default_rng(seed)
    fields = []
    for sigma, threshold in ((6, 1.0), (4, 0.3)):
        field = gaussian_filter(rng.normal(size=(side, side)).astype(np.float32), sigma)
        fields.append(400 * np.clip(field / field.std() - threshold, 0, 2) + 40)
    return fields


def section(seed=0, side=1000, tissue_box=None, noise=5.0, offset=100.0):
    """Return a slide and where its tissue is; outside `tissue_box` there is only camera noise."""
    rng = np.random.default_rng(seed)
    inside = np.zeros((side, side), np.float32)
    inside[tissue_box or (slice(None), slice(None))] = 1.0
    channels = []
    for field in light(seed % 2, side):
        signal = inside * field
        shot = np.sqrt(signal + noise**2) * rng.standard_normal(signal.shape, np.float32)
        channels.append(np.clip(offset + signal + shot, 0, None).astype(np.uint16))
    return slide_from_arrays({"vessels": channels[0], "nuclei": channels[1]}, 0.5), inside > 0


def cells_with(truth, mask, cell_px):
    rows, cols = mask.shape
    padded = np.zeros((rows * cell_px, cols * cell_px), bool)
    padded[: truth.shape[0], : truth.shape[1]] = truth
    return padded.reshape(rows, cell_px, cols, cell_px).any(axis=(1, 3))


@pytest.mark.parametrize("model_um", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_crop_full_of_tissue_is_tissue_all_over(seed, model_um):
    mask, cell_px = tissue_mask(section(seed)[0], model_um)
    assert cell_px == 32
    assert mask.all()


@pytest.mark.parametrize(("noise", "offset"), [(5.0, 100.0), (0.0, 0.0), (15.0, 200.0)])
def test_glass_around_a_section_is_empty_and_no_tissue_is_lost(noise, offset):
    box = (slice(300, 640), slice(330, 640))
    slide, truth = section(2, 1000, box, noise, offset)
    mask, cell_px = tissue_mask(slide, 0.5)
    needed = cells_with(truth, mask, cell_px)
    assert mask[needed].all()
    assert mask.mean() < 2 * needed.mean()


def test_windows_that_touch_tissue_are_those_to_run():
    slide, truth = section(3, 1000, (slice(0, 400), slice(0, 400)))
    mask, cell_px = tissue_mask(slide, 0.5)
    lattice = Lattice((1000, 1000))
    skipped = 0
    for i in range(lattice.rows):
        for j in range(lattice.cols):
            box = lattice.window_box(i, j)
            if touches_tissue(mask, cell_px, box):
                continue
            skipped += 1
            assert not truth[box.slices].any()
    assert skipped > lattice.rows * lattice.cols / 3


def test_touching_is_exact_to_the_cell():
    mask = np.zeros((10, 10), bool)
    mask[4, 5] = True
    assert touches_tissue(mask, 32, Box(0, 0, 129, 161))
    assert not touches_tissue(mask, 32, Box(0, 0, 128, 161))
    assert not touches_tissue(mask, 32, Box(0, 0, 129, 160))
    assert touches_tissue(mask, 32, Box(159, 191, 500, 500))
    assert not touches_tissue(mask, 32, Box(160, 0, 500, 500))


def test_a_hole_inside_the_tissue_stays_tissue():
    slide, _ = section(4)
    for raster in (slide.vessels, slide.nuclei):
        raster.planes[0][300:700, 300:700] = 100
    assert tissue_mask(slide, 0.5)[0].all()


def test_a_channel_that_shows_something_keeps_the_other_from_deciding():
    slide, _ = section(5, 1000, (slice(0, 400), slice(0, 1000)))
    full, _ = section(6)
    images = {"vessels": slide.vessels.planes[0], "nuclei": full.nuclei.planes[0]}
    assert tissue_mask(slide_from_arrays(images, 0.5), 0.5)[0].all()


def test_dim_tissue_beside_bright_tissue_is_not_empty():
    slide, _ = section(7)
    for raster in (slide.vessels, slide.nuclei):
        half = raster.planes[0][:, 500:]
        half[:] = 100 + (half.astype(float) - 100) * 0.15
    assert tissue_mask(slide, 0.5)[0].all()


@pytest.mark.parametrize(("brightness", "grain"), [(150.0, 5.0), (0.0, 400.0)])
def test_haze_and_grain_without_structure_are_not_glass(brightness, grain):
    slide, _ = section(14, 1000, (slice(0, 400), slice(0, 1000)), offset=2000.0)
    rng = np.random.default_rng(15)
    for raster in (slide.vessels, slide.nuclei):
        corner = raster.planes[0][600:, :400]
        corner[:] = 2000 + brightness + grain * rng.standard_normal(corner.shape)
    mask, cell_px = tissue_mask(slide, 0.5)
    assert mask[-(-600 // cell_px) :, : 400 // cell_px].all()
    assert not mask.all()


def test_uneven_glass_is_kept_rather_than_guessed():
    slide, _ = section(8, 1000, (slice(0, 400), slice(0, 400)))
    for raster in (slide.vessels, slide.nuclei):
        raster.planes[0][:] += (np.arange(1000) / 5).astype(np.uint16)
    assert tissue_mask(slide, 0.5)[0].mean() > 0.9


@pytest.mark.parametrize("kind", ["constant", "noise", "small"])
def test_where_nothing_is_clear_everything_is_tissue(kind):
    rng = np.random.default_rng(9)
    images = {
        "constant": np.full((600, 600), 7, np.uint8),
        "noise": rng.normal(100, 5, (600, 600)),
        "small": np.zeros((40, 500), np.uint8),
    }
    slide = slide_from_arrays({"vessels": images[kind], "nuclei": images[kind]}, 0.5)
    mask, _ = tissue_mask(slide, 0.5)
    assert mask.all()
    assert mask.shape == {"small": (2, 16)}.get(kind, (19, 19))


def test_the_mask_is_measured_on_a_pyramid_as_on_its_finest_level():
    slide, truth = section(10, 1000, (slice(300, 600), slice(300, 600)))

    def pyramid(image):
        fine = image.astype(np.float32)
        return [fine] + [fine.reshape(1000 // f, f, 1000 // f, f).mean(axis=(1, 3)) for f in (2, 4)]

    levels = {r.name: pyramid(r.planes[0]) for r in slide.channels}
    mask, cell_px = tissue_mask(slide_from_arrays(levels, 0.5), 0.5)
    assert mask[cells_with(truth, mask, cell_px)].all()
    assert mask.mean() < 0.4


def test_limits_are_percentiles_over_tissue_only():
    slide, _ = section(11, 1000, (slice(0, 350), slice(0, 1000)))
    mask, cell_px = tissue_mask(slide, 0.5)
    where = mask.repeat(cell_px, 0).repeat(cell_px, 1)[:1000, :1000]
    assert where.mean() < 0.5
    limits = measure_normalisation(slide, mask, cell_px, 0.5)
    for raster, found in ((slide.vessels, limits.vessels), (slide.nuclei, limits.nuclei)):
        assert found == pytest.approx(np.percentile(raster.planes[0][where], (0.1, 99.9)))


def test_limits_of_a_large_slide_come_from_blocks_spread_over_it(monkeypatch):
    slide, _ = section(12)
    mask, cell_px = tissue_mask(slide, 0.5)
    every = measure_normalisation(slide, mask, cell_px, 0.5)
    monkeypatch.setattr(tissue, "SAMPLE_BLOCKS", 40)
    some = measure_normalisation(slide, mask, cell_px, 0.5)
    assert some == measure_normalisation(slide, mask, cell_px, 0.5)
    assert some != every
    assert some.vessels == pytest.approx(every.vessels, rel=0.1)
    assert some.nuclei == pytest.approx(every.nuclei, rel=0.1)


def test_a_blank_channel_is_named():
    slide, _ = section(13, 300)
    images = {"vessels": slide.vessels.planes[0], "nuclei": np.full((300, 300), 7, np.uint8)}
    blank = slide_from_arrays(images, 0.5)
    mask, cell_px = tissue_mask(blank, 0.5)
    with pytest.raises(ValueError, match=r"'nuclei' \(nuclei\) is blank, .* 7: .*--nuclei-channel"):
        measure_normalisation(blank, mask, cell_px, 0.5)


def test_normalising_maps_the_limits_to_minus_one_and_one_and_clips():
    got = normalise(np.array([0, 100, 200, 300, 900], np.uint16), 100.0, 300.0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [-1, -1, 0, 1, 1])


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_limits_must_rise(limits):
    with pytest.raises(ValueError, match="limits of nuclei must be two rising numbers"):
        Normalisation((0.0, 1.0), limits)
