"""The lattice: windows, blend weights, cells and shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_damm.util.tiling import CELL, Box, Lattice, shard_boxes, tokens_to_cells

sides = st.integers(1, 900)
GEOMETRIES = [(256, 192), (128, 96), (64, 32), (64, 64), (160, 96)]


@st.composite
def lattices(draw):
    window, stride = draw(st.sampled_from(GEOMETRIES))
    shape = draw(st.integers(1, 3 * window)), draw(st.integers(1, 3 * window))
    return Lattice(shape, window, stride)


@st.composite
def boxes_inside(draw, shape):
    y0, y1 = sorted(draw(st.lists(st.integers(0, shape[0]), min_size=2, max_size=2, unique=True)))
    x0, x1 = sorted(draw(st.lists(st.integers(0, shape[1]), min_size=2, max_size=2, unique=True)))
    return Box(y0, x0, y1, x1)


def random_windows(lattice, seed, keep=1.0):
    rng = np.random.default_rng(seed)
    side = lattice.window
    return {
        (i, j): rng.normal(size=(side, side)).astype(np.float32)
        for i in range(lattice.rows)
        for j in range(lattice.cols)
        if rng.random() < keep
    }


@pytest.mark.parametrize(
    ("length", "count"),
    [(1, 1), (256, 1), (257, 2), (448, 2), (449, 3), (3072, 16), (100_000, 521)],
)
def test_count_of_windows_along_an_axis(length, count):
    assert Lattice((length, 1)).rows == count
    assert Lattice((1, length)).cols == count


@given(lattices())
def test_windows_start_at_multiples_of_the_stride_and_reach_the_end_of_the_slide(lattice):
    last = lattice.window_box(lattice.rows - 1, lattice.cols - 1)
    assert (last.y0, last.x0) == (
        (lattice.rows - 1) * lattice.stride,
        (lattice.cols - 1) * lattice.stride,
    )
    assert last.y1 >= lattice.shape[0]
    assert last.x1 >= lattice.shape[1]


@given(st.data(), lattices())
def test_windows_touching_are_exactly_those_that_share_a_pixel(data, lattice):
    box = data.draw(boxes_inside(lattice.shape))
    expected = [
        (i, j)
        for i in range(lattice.rows)
        for j in range(lattice.cols)
        if not lattice.window_box(i, j).intersect(box).empty
    ]
    assert lattice.windows_touching(box) == expected


def test_an_empty_box_touches_no_window():
    assert Lattice((600, 600)).windows_touching(Box(100, 100, 100, 200)) == []


def test_a_shard_of_3072_px_touches_17_by_17_windows():
    touching = Lattice((9000, 9000)).windows_touching(Box(3072, 3072, 6144, 6144))
    assert len(touching) == 17 * 17


@given(lattices())
def test_weights_sum_to_one_everywhere_in_the_slide(lattice):
    height, width = lattice.shape
    total = np.zeros((height + lattice.window, width + lattice.window))
    for i in range(lattice.rows):
        for j in range(lattice.cols):
            total[lattice.window_box(i, j).slices] += lattice.weights(i, j)
    np.testing.assert_allclose(total[:height, :width], 1, atol=1e-6)


def smoothstep(length):
    r = (np.arange(length) + 0.5) / length
    return 3 * r**2 - 2 * r**3


def test_a_weight_and_its_mirror_image_sum_to_one_exactly():
    first, second = Lattice((448, 256)).weights(0, 0), Lattice((448, 256)).weights(1, 0)
    assert (first[192:] + second[:64] == 1).all()


def test_weights_are_flat_at_the_slides_border_and_ramp_over_the_overlap():
    weights = Lattice((1000, 256)).weights(0, 0)
    assert (weights[:192] == 1).all()
    np.testing.assert_allclose(weights[192:, 0], smoothstep(64)[::-1], atol=1e-7)


@given(lattices(), st.integers(0, 99))
def test_blending_constant_windows_gives_the_constant(lattice, seed):
    windows = {k: np.full_like(v, 0.7) for k, v in random_windows(lattice, seed).items()}
    blended = lattice.blend(Box(0, 0, *lattice.shape), windows)
    assert blended.dtype == np.float32
    np.testing.assert_allclose(blended, 0.7, rtol=1e-6)


@given(st.data(), lattices(), st.integers(0, 99), st.sampled_from([0.4, 1.0]))
def test_blend_of_a_sub_box_is_the_crop_bit_for_bit_in_any_order(data, lattice, seed, keep):
    windows = random_windows(lattice, seed, keep)
    box = data.draw(boxes_inside(lattice.shape))
    whole = lattice.blend(Box(0, 0, *lattice.shape), windows)
    reordered = dict(data.draw(st.permutations(list(windows.items()))))
    np.testing.assert_array_equal(lattice.blend(box, reordered), whole[box.slices])


def test_blend_ramps_from_one_window_to_its_neighbour():
    lattice = Lattice((448, 1))
    zero, one = np.zeros((256, 256), np.float32), np.ones((256, 256), np.float32)
    column = lattice.blend(Box(0, 0, 448, 1), {(0, 0): zero, (1, 0): one})[:, 0]
    assert (column[:192] == 0).all()
    assert (column[256:] == 1).all()
    np.testing.assert_allclose(column[192:256], smoothstep(64), atol=1e-7)


def test_beside_an_absent_window_blend_is_undimmed_but_for_two_pixels_and_zero_beyond():
    lattice = Lattice((832, 256))
    ones = np.ones((256, 256), np.float32)
    column = lattice.blend(Box(0, 0, 832, 256), {(0, 0): ones, (3, 0): ones})
    assert (column[:254] == 1).all()
    assert (column[254:578] == 0).all()
    assert (column[578:] == 1).all()


def owner(lattice, y, x):
    """The window in whose undisturbed middle an absolute cell lies: borders halve the overlaps."""
    places = ((y, lattice.rows), (x, lattice.cols))
    centres = [(cell * CELL + CELL // 2, count) for cell, count in places]
    inside = [(centre - lattice.overlap // 2) // lattice.stride for centre, _ in centres]
    return tuple(
        min(max(window, 0), count - 1) for window, (_, count) in zip(inside, centres, strict=True)
    )


@given(st.integers(1, 5000))
def test_owned_cells_follow_the_published_formula(length):
    lattice = Lattice((length, 1))
    for cell in range(-(-length // CELL)):
        expected = min(max((cell - 1) // 6, 0), lattice.rows - 1)
        owned = lattice.owned_cells(expected, 0)
        assert owned.y0 <= cell < owned.y1


@given(lattices())
def test_owned_cells_partition_the_cells_and_lie_around_the_middle_of_their_window(lattice):
    owners = np.full((*lattice.cells.shape, 2), -1)
    for i in range(lattice.rows):
        for j in range(lattice.cols):
            owned = lattice.owned_cells(i, j)
            assert (owners[owned.slices] == -1).all(), "a cell has two owners"
            owners[owned.slices] = i, j
            pixels = lattice.window_box(i, j)
            cells = pixels.cells()
            assert owned.empty or owned.intersect(cells) == owned, "owned but not seen"
    for y in range(owners.shape[0]):
        for x in range(owners.shape[1]):
            assert tuple(owners[y, x]) == owner(lattice, y, x)


@given(st.data(), lattices())
def test_gathered_cells_are_the_crop_of_all_cells_each_from_its_owner(data, lattice):
    side = lattice.window // CELL
    windows = {
        (i, j): np.full((side, side), 1 + i * lattice.cols + j, np.float32)
        for i in range(lattice.rows)
        for j in range(lattice.cols)
    }
    cells = data.draw(boxes_inside(lattice.cells.shape))
    gathered = lattice.gather_cells(cells, windows)
    for y in range(cells.y0, cells.y1):
        for x in range(cells.x0, cells.x1):
            assert gathered[y - cells.y0, x - cells.x0] == windows[owner(lattice, y, x)][0, 0]


def test_gathered_cells_keep_their_place_in_the_window_and_are_zero_where_it_is_absent():
    lattice = Lattice((448, 256))
    values = np.arange(1, 65, dtype=np.float32).reshape(8, 8)
    gathered = lattice.gather_cells(lattice.cells, {(1, 0): values})
    assert (gathered[:7] == 0).all()
    np.testing.assert_array_equal(gathered[7:], values[1:])


def test_a_region_of_interest_touches_the_cells_it_starts_and_ends_in():
    assert Box(33, 31, 64, 65).cells() == Box(1, 0, 2, 3)


@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (4, 8)])
def test_tokens_cover_the_cells_at_their_place(sides):
    fine = np.arange(256, dtype=np.float32).reshape(16, 16)
    tokens = fine.reshape(sides[0], 16 // sides[0], sides[1], 16 // sides[1]).mean((1, 3))
    cells = tokens_to_cells(tokens)
    assert cells.shape == (8, 8)
    assert cells.dtype == np.float32
    np.testing.assert_allclose(cells.mean(), fine.mean())
    expected = np.kron(tokens, np.ones((max(1, 8 // sides[0]), max(1, 8 // sides[1]))))
    if sides != (16, 16):
        np.testing.assert_array_equal(cells, expected)
    else:
        np.testing.assert_array_equal(cells, fine.reshape(8, 2, 8, 2).mean((1, 3)))


def test_tokens_that_do_not_fit_the_cells_are_refused():
    with pytest.raises(ValueError, match="3 tokens and 8 cells"):
        tokens_to_cells(np.zeros((3, 3), np.float32))


@given(sides, sides, st.sampled_from([64, 192, 3072]))
def test_shards_partition_the_result(height, width, shard):
    seen = np.zeros((height, width), int)
    for row, col, box in shard_boxes((height, width), shard):
        assert (box.y0, box.x0) == (row * shard, col * shard)
        seen[box.slices] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("shape", "window", "stride", "named"),
    [
        ((0, 5), 256, 192, "shape \\(0, 5\\)"),
        ((5, 5), 100, 64, "window.*100"),
        ((5, 5), 256, 300, "stride.*300"),
        ((5, 5), 256, 96, "stride.*96"),
        ((5, 5), 256, 200, "stride.*200"),
    ],
)
def test_a_lattice_that_cannot_be_is_refused_by_name(shape, window, stride, named):
    with pytest.raises(ValueError, match=named):
        Lattice(shape, window, stride)


def test_boxes_intersect_and_shift():
    box = Box(0, 0, 10, 20)
    assert box.shape == (10, 20)
    assert box.intersect(Box(5, 15, 30, 30)) == Box(5, 15, 10, 20)
    assert box.intersect(Box(10, 0, 20, 20)).empty
    assert box.intersect(Box(50, 50, 60, 60)).shape == (0, 0)
    assert box.shifted(-1, 2) == Box(-1, 2, 9, 22)
