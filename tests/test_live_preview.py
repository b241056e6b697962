"""Live maps: stored shards, covered by tiles of shards in work."""

import sys
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import shard_maps

from napari_damm.engine.live_preview import LivePreview
from napari_damm.events import Tile
from napari_damm.store import ResultLayout, ResultStore, ShardStatus, halve, to_half
from napari_damm.util.tiling import CELL, Box, Lattice


def make(shape=(300, 520), shard=128, offset=(0, 0)):
    layout = ResultLayout(shape, 0.5, (10.0, 20.0), offset, shard)
    return ResultStore.create(None, layout, {})


def tile_at(box, image, cells, uncertainty, branch):
    """The part of a whole result that a window would announce."""
    return Tile(
        box.y0,
        box.x0,
        image[box.slices],
        cells.y0,
        cells.x0,
        uncertainty[cells.slices],
        branch[cells.slices],
        1,
        1,
    )


def content(layout, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=layout.shape).astype(np.float32)
    uncertainty = rng.random(layout.cells_shape, np.float32)
    return image, uncertainty, rng.integers(1, 3, layout.cells_shape, np.uint8)


def tiles(layout, maps):
    """All tiles of a run over a slide whose region starts at `cells_origin`."""
    (height, width), (dy, dx) = layout.shape, layout.cells_origin
    lattice = Lattice((dy + height, dx + width), 128, 96)
    region = Box(dy, dx, dy + height, dx + width)
    image, uncertainty, branch = maps
    for i, j in lattice.windows_touching(region):
        box = lattice.window_box(i, j).intersect(region).shifted(-dy, -dx)
        yield tile_at(box, image, lattice.owned_cells(i, j), uncertainty, branch)


def write(store, row, col, maps):
    store.write_shard(row, col, shard_maps(store.layout, row, col, maps))


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 700)),
    st.tuples(st.integers(0, 31), st.integers(0, 31)),
    st.sampled_from([64, 128, 320]),
)
def test_tiles_show_everywhere_at_once_and_shards_take_over_unchanged(shape, offset, shard):
    store = make(shape, shard, offset)
    maps = content(store.layout)
    preview = LivePreview(store)
    for tile in tiles(store.layout, maps):
        preview.add(tile)
    for _ in ("tiles", "stored"):
        np.testing.assert_array_equal(preview.np_levels[0][:], to_half(maps[0]))
        np.testing.assert_array_equal(preview.uncertainty[:], to_half(maps[1]))
        np.testing.assert_array_equal(preview.branch[:], maps[2])
        for row, col, _box in store.layout.shards():
            write(store, row, col, maps)
            preview.shard_done(row, col)
        assert preview.buffered_bytes == 0


def test_coarse_levels_follow_the_tiles():
    store = make((1100, 700), 256)
    maps = content(store.layout)
    preview = LivePreview(store)
    for tile in tiles(store.layout, maps):
        preview.add(tile)
    level = to_half(maps[0])
    assert len(preview.np_levels) == 3
    for array in preview.np_levels:
        np.testing.assert_array_equal(array[:], level)
        level = to_half(halve(level))


def test_an_untouched_canvas_is_zero_and_takes_no_memory():
    preview = LivePreview(make())
    assert (preview.np_levels[0][:] == 0).all()
    assert (preview.branch[:] == 0).all()
    assert preview.buffered_bytes == 0


def test_memory_is_bounded_by_the_shards_in_work():
    store = make((128, 1280), 128)
    maps = content(store.layout)
    preview = LivePreview(store)
    most = 0
    for col in range(10):
        box, cells = store.layout.shard_box(0, col), store.layout.shard_cells(0, col)
        preview.add(tile_at(box, maps[0], cells, maps[1], maps[2]))
        most = max(most, preview.buffered_bytes)
        write(store, 0, col, maps)
        preview.shard_done(0, col)
    assert preview.buffered_bytes == 0
    assert most < 128 * 128 * 2 * 1.5


def test_a_tile_over_a_stored_shard_shows_only_in_the_other_one():
    store = make((128, 256), 128)
    maps, other = content(store.layout), content(store.layout, seed=1)
    write(store, 0, 0, maps)
    preview = LivePreview(store)
    preview.add(tile_at(Box(0, 64, 128, 192), other[0], Box(0, 2, 4, 6), other[1], other[2]))
    shown = preview.np_levels[0][:]
    np.testing.assert_array_equal(shown[:, :128], to_half(maps[0][:, :128]))
    np.testing.assert_array_equal(shown[:, 128:192], to_half(other[0][:, 128:192]))
    np.testing.assert_array_equal(preview.branch[:, :4], maps[2][:, :4])
    np.testing.assert_array_equal(preview.branch[:, 4:6], other[2][:, 4:6])


def test_a_later_tile_replaces_what_an_earlier_one_showed():
    store = make((128, 128), 128)
    preview = LivePreview(store)
    for value in (1, 2):
        image = np.full((128, 128), value, np.float32)
        cells = np.full((4, 4), value / 4, np.float32)
        preview.add(Tile(0, 0, image, 0, 0, cells, cells.astype(np.uint8) + value, value, 2))
    assert (preview.np_levels[0][:] == 2).all()
    assert (preview.branch[:] == 2).all()


def test_a_tile_that_overhangs_the_result_is_cut():
    store = make((100, 100), 64)
    ones = np.ones((256, 256), np.float32)
    preview = LivePreview(store)
    preview.add(Tile(-50, -50, ones, -1, -1, ones[:8, :8], np.ones((8, 8), np.uint8), 1, 1))
    assert (preview.np_levels[0][:] == 1).all()
    assert (preview.branch[:] == 1).all()


# ---------------------------------------------------------------- indexing

starts = st.one_of(st.none(), st.integers(-140, 140), st.integers(-700, 700))
slices = st.builds(slice, starts, starts, st.sampled_from([None, 1, 2, 7, -1, -3]))
axis_index = st.one_of(slices, st.integers(-70, 69), st.integers(0, 69).map(np.int64))
columns = st.one_of(slices, st.integers(-600, 599))
indices = st.one_of(
    axis_index,
    st.just(Ellipsis),
    st.just(()),
    st.tuples(axis_index),
    st.tuples(axis_index, columns),
    st.tuples(st.just(Ellipsis), columns),
    st.tuples(axis_index, st.just(Ellipsis)),
    st.tuples(axis_index, st.just(Ellipsis), columns),
)


@pytest.fixture(scope="module")
def half_done():
    """A live array with one stored shard, one in work, the rest pending; what it should show."""
    store = make((70, 600), 64)
    maps = content(store.layout)
    write(store, 0, 0, maps)
    preview = LivePreview(store)
    box = Box(0, 64, 50, 70)
    preview.add(tile_at(box, maps[0], Box(0, 2, 1, 3), maps[1], maps[2]))
    expected = np.zeros((70, 600), np.float16)
    for part in (Box(0, 0, 64, 64), box):
        expected[part.slices] = to_half(maps[0])[part.slices]
    return preview.np_levels[0], expected


@settings(deadline=None)
@given(index=indices)
def test_any_basic_index_gives_what_numpy_gives(half_done, index):
    live, expected = half_done
    answer = live[index]
    assert answer.dtype == expected.dtype
    np.testing.assert_array_equal(answer, expected[index])


def test_a_live_array_converts_to_numpy(half_done):
    live, expected = half_done
    np.testing.assert_array_equal(np.asarray(live), expected)
    assert np.asarray(live, np.float32).dtype == np.float32
    assert (live.shape, live.ndim, live.size, len(live)) == ((70, 600), 2, 42000, 70)
    assert live.nbytes == expected.nbytes


def test_what_is_read_is_the_readers_own(half_done):
    live, expected = half_done
    live[:][:] = 7
    np.testing.assert_array_equal(live[:], expected)


@pytest.mark.parametrize("index", [70, (0, -601), (0, 0, 0), [1, 2], None, "y"])
def test_other_indices_are_refused(half_done, index):
    with pytest.raises(IndexError):
        half_done[0][index]


# ---------------------------------------------------------------- threads and napari


def test_a_viewer_never_sees_a_hole_while_shards_move_to_the_store():
    store = make((64, 1280), 64)
    ones = tuple(np.ones_like(array) for array in content(store.layout))
    preview = LivePreview(store)
    holes = []
    first = Tile(0, 0, ones[0], 0, 0, ones[1], ones[2], 1, 1)
    preview.add(first)

    def look():
        while finisher.is_alive():
            holes.append(int((preview.np_levels[0][:] != 1).sum()))

    def finish():
        for row, col, _box in store.layout.shards():
            write(store, row, col, ones)
            preview.shard_done(row, col)

    finisher = Thread(target=finish)
    viewers = [Thread(target=look) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        finisher.start()
        for thread in viewers:
            thread.start()
        for thread in [finisher, *viewers]:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert holes
    assert not any(holes)
    assert (store.status == ShardStatus.DONE).all()


def test_napari_shows_a_live_canvas_as_multiscale_image_and_labels():
    from napari.components import ViewerModel

    store = make((1100, 700), 256)
    maps = content(store.layout)
    preview = LivePreview(store)
    viewer = ViewerModel()
    image = viewer.add_image(
        preview.np_levels,
        multiscale=True,
        contrast_limits=(0, 1),
        scale=(0.5, 0.5),
        translate=(10.25, 20.25),
    )
    side, corner = CELL * 0.5, store.layout.cells_origin_um
    cells = {"scale": (side, side), "translate": [c + side / 2 for c in corner]}
    labels = viewer.add_labels(preview.branch, **cells)
    blank = labels._slice.image.view.copy()
    uncertainty = viewer.add_image(preview.uncertainty, contrast_limits=(0, 1), **cells)
    assert image.multiscale
    assert image.data.shape == (1100, 700)
    np.testing.assert_allclose(image.extent.world[0] - 0.25, labels.extent.world[0] - side / 2)

    for tile in tiles(store.layout, maps):
        preview.add(tile)
    for layer in viewer.layers:
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    assert labels.get_value((10 + side * 2.5, 20 + side * 3.5), world=True) == maps[2][2, 3]
    np.testing.assert_array_equal(labels._slice.image.raw, maps[2])
    assert (labels._slice.image.view != blank).all()
    np.testing.assert_array_equal(uncertainty._slice.image.raw, to_half(maps[1]))

    for k, live in enumerate(preview.np_levels):
        image.data_level = k
        image.corner_pixels = np.array([[0, 0], np.array(live.shape) - 1])
        image.refresh(thumbnail=False, highlight=False, extent=False)
        position = 10.25 + 0.5 * 2**k * 70, 20.25 + 0.5 * 2**k * 50
        assert image.get_value(position, world=True) == (k, live[70, 50])
        np.testing.assert_array_equal(image._slice.image.raw, live[:])


def test_the_overview_that_napari_keeps_follows_the_run_to_its_end():
    from napari.components import ViewerModel

    store = make((1100, 700), 256)
    maps, early = content(store.layout), content(store.layout, seed=1)
    preview = LivePreview(store)
    overview = ViewerModel().add_image(preview.np_levels, multiscale=True, contrast_limits=(0, 1))
    assert overview.data_level == 2
    for tile in tiles(store.layout, early):
        preview.add(tile)
    overview.refresh(thumbnail=False, highlight=False, extent=False)
    np.testing.assert_array_equal(overview._slice.image.raw, preview.np_levels[-1])
    assert (preview.np_levels[-1] != 0).mean() > 0.9
    for row, col, _box in store.layout.shards():
        write(store, row, col, maps)
        preview.shard_done(row, col)
    overview.refresh(thumbnail=False, highlight=False, extent=False)
    np.testing.assert_array_equal(overview._slice.image.raw, store.result().levels[-1].compute())


def test_a_preview_over_a_half_stored_result_starts_with_what_is_there():
    store = make((1100, 700), 256)
    write(store, 1, 1, content(store.layout))
    preview = LivePreview(store)
    for live, stored in zip(preview.np_levels, store.result().levels, strict=True):
        np.testing.assert_array_equal(live[:], stored.compute())
        assert (live[:] != 0).any()
    np.testing.assert_array_equal(preview.uncertainty, store.result().uncertainty.compute())
    np.testing.assert_array_equal(preview.branch, store.result().branch.compute())
    assert (preview.branch != 0).any()


def test_cells_of_a_region_start_where_their_first_cell_does():
    # the region starts 3 and 7 px of 0.5 um inside a cell
    preview = LivePreview(make(offset=(3, 7)))
    assert preview.cells_origin_um == (10.0 - 1.5, 20.0 - 3.5)
