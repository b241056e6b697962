"""Where everything in a result lies: shards, levels, cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_damm.store import (
    ResultLayout,
    halve,
    to_half,
)
from napari_damm.util.tiling import Box

shapes = st.tuples(st.integers(1, 700), st.integers(1, 700))
offsets = st.tuples(st.integers(0, 31), st.integers(0, 31))
shards = st.sampled_from([64, 128, 192, 320, 3072])


@given(shapes, offsets, shards)
def test_shards_partition_pixels_and_cells_and_every_cell_overlaps_its_shard(shape, offset, shard):
    layout = ResultLayout(shape, 1.0, cells_origin=offset, shard=shard)
    pixels, cells = np.zeros(shape, int), np.zeros(layout.cells_shape, int)
    for row, col, box in layout.shards():
        assert layout.shard_box(row, col) == box
        owned = layout.shard_cells(row, col)
        pixels[box.slices] += 1
        cells[owned.slices] += 1
        seen = box.shifted(*offset).cells()
        assert owned.intersect(seen) == owned
    assert (pixels == 1).all()
    assert (cells == 1).all()


@given(shapes, shards)
def test_levels_halve_and_their_shards_stay_aligned(shape, shard):
    levels = ResultLayout(shape, 1.0, shard=shard).levels
    assert levels[0].shape == shape
    for k, level in enumerate(levels):
        assert level.path == f"np/{k}"
        assert level.factor == 2**k
        assert level.shape == tuple(-(-side // 2**k) for side in shape)
        for axis in (0, 1):
            assert level.shard[axis] * level.factor == levels[0].shard[axis]
            assert level.shard[axis] % level.chunk[axis] == 0
            assert level.chunk[axis] <= 512
    assert max(levels[-1].shape) <= 512 or len(levels) == 5


def test_a_large_slide_has_the_designed_shards_and_chunks():
    levels = ResultLayout((100_000, 90_000), 0.5).levels
    assert [level.shard[0] for level in levels] == [3072, 1536, 768, 384, 192]
    assert [level.chunk[0] for level in levels] == [512, 512, 384, 384, 192]


def test_a_small_slide_does_not_allocate_a_large_shard():
    assert ResultLayout((100, 1030), 1.0).levels[0].shard == (128, 1536)


def test_a_region_keeps_its_place_in_the_world_and_on_the_cells_of_the_slide():
    layout = ResultLayout.for_region(Box(70, 32, 170, 232), 0.5, (100.0, 200.0), shard=64)
    assert layout.shape == (100, 200)
    assert layout.origin == (135.0, 216.0)
    assert layout.cells_origin == (6, 0)
    assert layout.cells_origin_um == (132.0, 216.0)
    assert layout.cells_shape == Box(70, 32, 170, 232).cells().shape


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"shape": (0, 3)}, "shape"),
        ({"pixel_size_um": 0.0}, "pixel size.*0.0"),
        ({"pixel_size_um": float("nan")}, "pixel size.*nan"),
        ({"cells_origin": (32, 0)}, "cells_origin.*32"),
        ({"shard": 100}, "shard.*100"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        ResultLayout(**({"shape": (10, 10), "pixel_size_um": 1.0} | values))


@given(shapes.filter(lambda s: min(s) > 0))
def test_halving_averages_what_is_there(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    half = halve(image)
    assert half.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert half.dtype == np.float32
    for y, x in [(0, 0), (half.shape[0] - 1, half.shape[1] - 1)]:
        window = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        np.testing.assert_allclose(half[y, x], window.mean(), atol=1e-6)


def test_halves_are_finite_and_have_no_negative_zero():
    half = to_half(np.array([[1e9, -np.inf, -1e-12, 0.5]], np.float32))
    np.testing.assert_array_equal(half, [[65504, -65504, 0, 0.5]])
    assert not np.signbit(half[0, 2])
