from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_damm.slide import check_finite, model_shape, read_region, resample, slide_from_arrays
from napari_damm.slide.raster import Raster
from napari_damm.util.tiling import Box, Lattice

RNG = np.random.default_rng(2)
NOISE = RNG.normal(100, 30, (211, 187)).astype(np.float32)
ORIGIN = (0.0, 0.0)


def raster(*levels, um=1.0, origin=ORIGIN):
    return Raster("vessels", tuple(np.asarray(level) for level in levels), um, origin)


def slide(image, um=1.0):
    return slide_from_arrays({"vessels": image, "nuclei": image}, um)


def whole_shape(image, um, model_um):
    return model_shape(slide(image, um), model_um)


def ramp(shape, um, origin=ORIGIN):
    """Return 3 y + 2 x of the world position, in um, of each pixel's centre."""
    y, x = (o + (np.arange(n) + 0.5) * um for n, o in zip(shape, origin, strict=True))
    return 3 * y[:, None] + 2 * x[None, :]


def test_the_model_grid_covers_the_slide_and_no_more():
    assert whole_shape(np.zeros((1000, 999), np.uint8), 0.5, 1.0) == (500, 500)
    assert whole_shape(np.zeros((1000, 1), np.uint8), 0.325, 0.65) == (500, 1)
    assert whole_shape(np.zeros((1000, 7), np.uint8), 0.1, 0.3) == (334, 3)


def test_a_slide_of_the_models_pixel_size_is_copied():
    box, shape = Box(3, 5, 100, 90), NOISE.shape
    np.testing.assert_array_equal(
        read_region(raster(NOISE, um=0.3), box, 0.3, ORIGIN, shape), NOISE[3:100, 5:90]
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("shift", [(0, 0), (-4, 2), (3, -5), (40, 0)])
def test_a_shift_by_whole_pixels_is_copied_and_what_lies_beyond_is_no_stain(shift, dtype):
    image = NOISE.astype(dtype)
    box = Box(0, 0, 60, 70)
    moved = raster(image, origin=tuple(map(float, shift)))
    got = read_region(moved, box, 1.0, ORIGIN, NOISE.shape)
    reach = int(resample.REACH_PX)
    padded = np.pad(image, 50, mode="edge").astype(np.float32)
    y, x = (np.arange(n) - s for n, s in zip((60, 70), shift, strict=True))
    wanted = padded[np.ix_(y + 50, x + 50)]
    wanted[y < -reach] = wanted[:, x < -reach] = 0
    np.testing.assert_array_equal(got, wanted)
    assert got.dtype == np.float32
    assert not np.shares_memory(got, image)


@pytest.mark.parametrize("model_um", [0.31, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 2.7, 4.0, 9.3])
def test_a_ramp_stays_where_it_is_in_the_world(model_um):
    um = 1.0
    image = ramp((211, 187), um)
    shape = whole_shape(image, um, model_um)
    got = read_region(raster(image, um=um), Box(0, 0, *shape), model_um, ORIGIN, shape)
    # The kernel reaches about (s + 2) / 2 source pixels; beyond the border there is no ramp.
    edge = int(np.ceil((max(model_um, 1.0) + 3) / 2 / model_um)) + 1
    inside = (slice(edge, -edge), slice(edge, -edge))
    np.testing.assert_allclose(got[inside], ramp(shape, model_um)[inside], rtol=1e-6)


@pytest.mark.parametrize("um", [0.4, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.25, -7.5), (0.5, 0.5)])
def test_nuclei_on_another_grid_are_aligned_in_the_world(um, shift):
    shape, vessels_origin = (60, 70), (10.0, 20.0)
    origin = (vessels_origin[0] + shift[0] - 12, vessels_origin[1] + shift[1] - 12)
    cover = tuple(int(np.ceil((n + 40) / um)) for n in shape)
    nuclei = raster(ramp(cover, um, origin), um=um, origin=origin)
    got = read_region(nuclei, Box(0, 0, *shape), 1.0, vessels_origin, shape)
    np.testing.assert_allclose(got, ramp(shape, 1.0, vessels_origin), rtol=1e-6)


def test_two_to_one_is_nearly_the_mean_of_four_pixels():
    image = np.zeros((40, 40))
    image[20, 20] = 1.0
    got = read_region(raster(image), Box(0, 0, 20, 20), 2.0, ORIGIN, (20, 20))
    assert got[10, 10] == pytest.approx(0.25, abs=0.05)
    assert got.sum() == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("model_um", [2.0, 3.0, 3.7, 6.0])
def test_what_is_too_fine_for_the_model_is_smoothed_not_sampled(model_um):
    y, x = np.indices((240, 240))
    for pattern in ((y + x) % 2, y % 2, x % 2):
        image = pattern * 100.0
        shape = whole_shape(image, 1.0, model_um)
        got = read_region(raster(image), Box(0, 0, *shape), model_um, ORIGIN, shape)
        assert np.ptp(got[4:-4, 4:-4]) < 20
    image = np.random.default_rng(3).normal(size=(240, 240))
    got = read_region(raster(image), Box(0, 0, *shape), model_um, ORIGIN, shape)
    # As a camera with larger pixels would average it, with the interpolation between pixels.
    assert got.std() == pytest.approx(1 / np.sqrt(model_um**2 + 1), rel=0.25)


GRIDS = st.sampled_from([0.37, 0.5, 1.0, 1.3, 2.0, 3.1])
SHIFTS = st.sampled_from([(0.0, 0.0), (-7.0, 12.0), (0.4, -0.7)])


@settings(max_examples=60, deadline=None)
@given(GRIDS, SHIFTS, st.lists(st.integers(-300, 700), min_size=4, max_size=4), st.booleans())
def test_every_box_is_a_crop_of_the_whole_bit_for_bit(model_um, shift, corners, pyramid):
    levels = [NOISE, NOISE[::2, ::2]] if pyramid else [NOISE]
    source = raster(*levels, origin=shift)
    shape = whole_shape(NOISE, 1.0, model_um)
    whole = read_region(source, Box(0, 0, *shape), model_um, ORIGIN, shape)
    y0, y1, x0, x1 = (*sorted(corners[:2]), *sorted(corners[2:]))
    box = Box(y0, x0, min(y1, y0 + 120), min(x1, x0 + 90))
    rows, cols = (
        resample._reflected(a, b, n)
        for a, b, n in zip((y0, x0), (box.y1, box.x1), shape, strict=True)
    )
    got = read_region(source, box, model_um, ORIGIN, shape)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, whole[np.ix_(rows, cols)])


@pytest.mark.parametrize("length", [1, 2, 3, 5, 40, 300])
def test_overhang_is_what_numpy_pads_by_reflection(length):
    image = NOISE[:length, :7]
    lattice = Lattice(image.shape)
    for i in range(lattice.rows):
        box = lattice.window_box(i, 0)
        over = ((0, max(0, box.y1 - image.shape[0])), (0, box.x1 - 7))
        expected = np.pad(image, over, mode="reflect")[box.y0 : box.y1]
        got = read_region(raster(image), box, 1.0, ORIGIN, image.shape)
        np.testing.assert_array_equal(got, expected)


def test_a_slide_of_one_pixel_fills_a_window():
    got = read_region(raster([[7]]), Box(0, 0, 256, 256), 1.0, ORIGIN, (1, 1))
    assert got.shape == (256, 256)
    assert (got == 7).all()


def test_an_empty_box_is_empty():
    assert read_region(raster(NOISE), Box(3, 3, 3, 9), 1.0, ORIGIN, NOISE.shape).shape == (0, 6)


@pytest.mark.parametrize(
    ("model_um", "level"), [(0.5, 0), (1.0, 0), (1.99, 0), (2.0, 1), (3.9, 1), (4.0, 2), (50, 2)]
)
def test_the_coarsest_level_that_is_not_coarser_than_the_model_is_used(model_um, level):
    source = raster(*(np.full((400 // f, 400 // f), f) for f in (1, 2, 4)))
    shape = whole_shape(source.planes[0], 1.0, model_um)
    got = read_region(source, Box(0, 0, 5, 5), model_um, ORIGIN, shape)
    assert (got == 2**level).all()


def test_beyond_the_nuclei_there_is_no_stain():
    nuclei = raster(np.full((50, 50), 9.0), origin=(0.0, 25.0))
    got = read_region(nuclei, Box(0, 0, 100, 100), 1.0, ORIGIN, (100, 100))
    assert (got[:50, 25:75] == 9).all()
    assert (got[53:] == 0).all()
    assert (got[:, :22] == 0).all()
    assert (got[:, 78:] == 0).all()


def test_all_types_are_read_as_they_are():
    for dtype in (np.uint8, np.int16, np.uint16, np.float16, np.float64, ">u2"):
        image = NOISE.astype(dtype)
        got = read_region(raster(image), Box(0, 0, 30, 30), 1.0, ORIGIN, NOISE.shape)
        np.testing.assert_array_equal(got, image[:30, :30].astype(np.float32))


def test_a_window_reads_no_more_than_it_needs():
    reads = []

    class Spy:
        shape, dtype, ndim = (5000, 5000), np.dtype(np.uint8), 2

        def __getitem__(self, key):
            reads.append(tuple(part.stop - part.start for part in key))
            return np.zeros(reads[-1], np.uint8)

    source = Raster("vessels", (Spy(),), 0.5)
    read_region(source, Box(256, 512, 512, 768), 1.0, ORIGIN, (2500, 2500))
    assert len(reads) == 1
    assert max(reads[0]) <= 512 + 6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_named(bad):
    image = NOISE.copy()
    image[50, 60] = bad
    source = raster(image)
    with pytest.raises(ValueError, match=r"'vessels' has NaN or infinite pixels, .* y 50, x 60"):
        read_region(source, Box(40, 40, 80, 80), 1.0, ORIGIN, NOISE.shape)
    read_region(source, Box(60, 40, 80, 80), 1.0, ORIGIN, NOISE.shape)


def test_pixels_that_are_no_numbers_are_found_up_front():
    image = NOISE.copy()
    check_finite(slide(image))
    image[210, 186] = np.nan
    with pytest.raises(ValueError, match="y 210, x 186 of level 0: replace them"):
        check_finite(slide(image))
    with pytest.raises(ValueError, match="'nuclei'"):
        check_finite(slide_from_arrays({"vessels": NOISE, "nuclei": image}, 1.0))


def test_of_a_large_slide_the_coarsest_sufficient_level_is_checked(monkeypatch):
    monkeypatch.setattr(resample, "CHECK_ALL_PIXELS", 20_000)
    coarse = NOISE[::2, ::2].copy()
    coarse[3, 4] = np.nan
    fine = da.from_array(NOISE, chunks=64).map_blocks(lambda block: 1 / 0, dtype=np.float32)
    pyramid = slide_from_arrays({"vessels": [fine, coarse], "nuclei": NOISE}, 1.0)
    with pytest.raises(ValueError, match="y 3, x 4 of level 1"):
        check_finite(pyramid)


def test_a_large_slide_without_levels_is_sampled(monkeypatch):
    monkeypatch.setattr(resample, "CHECK_ALL_PIXELS", 1000)
    monkeypatch.setattr(resample, "CHECK_BLOCK", 8)
    reads = []

    class Spy:
        shape, dtype, ndim = NOISE.shape, NOISE.dtype, 2

        def __getitem__(self, key):
            reads.append(key)
            return NOISE[key]

    source = slide(NOISE)
    object.__setattr__(source.vessels, "planes", (Spy(),))
    check_finite(source)
    assert 0 < len(reads) <= 16


def test_whole_numbers_need_no_check():
    class Unreadable:
        shape, dtype, ndim = (5, 5), np.dtype(np.uint16), 2

        def __getitem__(self, key):
            raise AssertionError

    source = slide(np.zeros((5, 5), np.uint16))
    for channel in (source.vessels, source.nuclei):
        object.__setattr__(channel, "planes", (Unreadable(),))
    check_finite(source)


def test_what_cannot_be_read_is_an_os_error_that_says_where():
    def fail(block):
        raise RuntimeError("bad sector")

    lazy = da.from_array(NOISE, chunks=64).map_blocks(fail, dtype=np.float32, meta=NOISE[:0, :0])
    source = slide_from_arrays({"vessels": lazy, "nuclei": NOISE}, 1.0)
    with pytest.raises(OSError, match=r"'vessels' cannot be read at y 0\.\.9, .*bad sector"):
        read_region(source.vessels, Box(0, 0, 9, 9), 1.0, ORIGIN, NOISE.shape)
