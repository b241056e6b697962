from __future__ import annotations

import tracemalloc
from functools import lru_cache

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from napari_damm.slide import (
    Normalisation,
    measure_normalisation,
    normalisation,
    normalise,
    planes,
    slide_from_arrays,
    tissue,
    tissue_mask,
    touches_tissue,
)
from napari_damm.util.tiling import Lattice


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
    touching = touches_tissue(mask, cell_px, lattice)
    skipped = 0
    for i in range(lattice.rows):
        for j in range(lattice.cols):
            box = lattice.window_box(i, j)
            if touching[i, j]:
                continue
            skipped += 1
            assert not truth[box.slices].any()
    assert skipped > lattice.rows * lattice.cols / 3


@given(st.integers(0, 99), st.sampled_from([32, 64, 128]), st.tuples(*[st.integers(1, 1500)] * 2))
def test_a_window_runs_if_and_only_if_it_holds_a_cell_of_tissue(seed, cell_px, shape):
    rng = np.random.default_rng(seed)
    cells = [-(-n // cell_px) for n in shape]
    mask = rng.random(cells) < 0.02
    lattice = Lattice(shape)
    touching = touches_tissue(mask, cell_px, lattice)
    pixels = mask.repeat(cell_px, 0).repeat(cell_px, 1)
    for i in range(lattice.rows):
        for j in range(lattice.cols):
            assert touching[i, j] == pixels[lattice.window_box(i, j).slices].any()


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


def unread(block):
    raise AssertionError("the finest level was read")


def huge(box, side=100_000):
    """Return a slide of 100k x 100k px, bright in `box` (of its level of 16 x 16 px pixels)."""
    coarse = np.zeros((side // 16, side // 16), np.uint8)
    coarse[box] = np.random.default_rng(16).integers(50, 200, coarse[box].shape)
    zeros = da.zeros((side, side), chunks=8192, dtype=np.uint8)
    fine = zeros.map_blocks(unread, dtype=np.uint8, meta=np.zeros((0, 0), np.uint8))
    return slide_from_arrays({role: [fine, coarse] for role in ("vessels", "nuclei")}, 0.5)


def test_the_mask_of_a_huge_slide_takes_little_memory_and_reads_a_coarse_level(monkeypatch):
    monkeypatch.setattr(planes, "_CACHE", planes.BlockCache(0))
    slide = huge((slice(2000, 2100), slice(1000, 1016)))
    tracemalloc.start()
    mask, cell_px = tissue_mask(slide, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert (cell_px, mask.shape) == (128, (782, 782))
    assert mask.size <= tissue.MOST_CELLS
    assert mask[2000 // 8 : -(-2100 // 8), 1000 // 8 : 1016 // 8].all()
    assert mask.sum() < 200


def test_cells_keep_their_size_up_to_a_million_of_them():
    for side, expected in ((32_768, 32), (32_769, 64)):
        image = da.zeros((side, side), chunks=side)
        levels = [image, np.zeros((side // 4, side // 4), np.uint8)]
        slide = slide_from_arrays({"vessels": levels, "nuclei": levels}, 0.5)
        assert tissue_mask(slide, 0.5)[1] == expected


@pytest.mark.parametrize("brightness", [1.0, 0.3])
@pytest.mark.parametrize(
    ("side", "cell_px", "place"),
    [
        (2560, 64, (1000, 1000)),
        (2560, 128, (1024, 2304)),
        (2560, 128, (1151, 1217)),
        (2560, 128, (1090, 0)),
        (4096, 256, (2940, 3200)),
    ],
)
def test_a_fragment_of_one_window_is_found_however_large_the_cells(
    monkeypatch, side, cell_px, place, brightness
):
    monkeypatch.setattr(tissue, "MOST_CELLS", (side // cell_px) ** 2)
    box = tuple(slice(start, start + 256) for start in place)
    slide, truth = section(17, side, (slice(0, 600), slice(0, 600)))
    for raster, field in zip(slide.channels, light(1, side), strict=True):
        raster.planes[0][box] += (brightness * field[box]).astype(np.uint16)
    truth[box] = True
    mask, found = tissue_mask(slide, 0.5)
    assert found == cell_px
    assert mask[cells_with(truth, mask, cell_px)].all()
    assert mask.mean() < 0.8


@pytest.mark.parametrize("most_cells", [400, 100, 25])
def test_limits_are_measured_whatever_the_size_of_the_cells(monkeypatch, most_cells):
    monkeypatch.setattr(tissue, "MOST_CELLS", most_cells)
    slide, _ = section(18, 2560, (slice(300, 2300), slice(300, 2300)))
    expected = measure_normalisation(slide, np.ones((80, 80), bool), 32, 0.5)
    mask, cell_px = tissue_mask(slide, 0.5)
    limits = measure_normalisation(slide, mask, cell_px, 0.5)
    assert limits.vessels == pytest.approx(expected.vessels, rel=0.1)
    assert limits.nuclei == pytest.approx(expected.nuclei, rel=0.1)


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
    monkeypatch.setattr(normalisation, "SAMPLE_BLOCKS", 40)
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
    with pytest.raises(ValueError, match=r"'nuclei' \(nuclei\) is blank, .* 7: .*nuclei_channel"):
        measure_normalisation(blank, mask, cell_px, 0.5)


def test_normalising_maps_the_limits_to_minus_one_and_one_and_clips():
    got = normalise(np.array([0, 100, 200, 300, 900], np.uint16), 100.0, 300.0)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [-1, -1, 0, 1, 1])


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_limits_must_rise(limits):
    with pytest.raises(ValueError, match="limits of nuclei must be two rising numbers"):
        Normalisation((0.0, 1.0), limits)


class _Broken:
    """A picture of which one corner cannot be read."""

    ndim = 2

    def __init__(self, image, corner):
        self.image, self.corner = image, corner
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, key):
        rows, cols = (range(n)[part] for n, part in zip(self.shape, key, strict=True))
        if len(rows) and len(cols) and rows[0] < self.corner and cols[0] < self.corner:
            raise OSError("bad sector")
        return self.image[key]


def test_what_cannot_be_read_is_tissue_and_the_limits_do_without_it():
    from napari_damm.slide import Slide
    from napari_damm.slide.raster import Raster

    rng = np.random.default_rng(0)
    image = rng.normal(100, 2, (3072, 3072))
    image[2100:2900, 2100:2900] += rng.gamma(2, 300, (800, 800))
    image = image.clip(0).astype(np.uint16)
    whole = [Raster(name, (image,), 1.0) for name in ("vessels", "nuclei")]
    broken = [Raster(name, (_Broken(image, 600),), 1.0) for name in ("vessels", "nuclei")]
    slides = [Slide(tuple(pair), *pair, "s", dict) for pair in (whole, broken)]
    (fine, cell_px), (mask, _) = (tissue_mask(slide, 1.0) for slide in slides)
    assert not fine[: 600 // cell_px, : 600 // cell_px].any()
    assert mask[: 600 // cell_px, : 600 // cell_px].all()
    assert (mask >= fine).all()
    assert not mask.all()
    limits = [measure_normalisation(s, mask, cell_px, 1.0) for s in slides]
    assert limits[1].vessels[1] == pytest.approx(limits[0].vessels[1], rel=0.1)


def test_a_slide_of_which_nothing_can_be_read_is_an_error():
    from napari_damm.slide import Slide
    from napari_damm.slide.raster import Raster

    pair = [Raster(n, (_Broken(np.ones((400, 400), np.uint8), 999),), 1.0) for n in "vn"]
    with pytest.raises(OSError, match="bad sector"):
        tissue_mask(Slide(tuple(pair), *pair, "s", dict), 1.0)
