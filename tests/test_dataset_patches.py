"""Patches: apart by blocks of tissue, and drawn as numbered views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import layers

from napari_damm.dataset import Region, SectionSource, SlideSource, open_sections, survey
from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import (
    SIDE,
    Patch,
    Split,
    corners_inside,
    epoch_order,
    split_patches,
)
from napari_damm.dataset.views import View, draw_view, plain_view, read_view
from napari_damm.util.tiling import Box


def fields_of(*sources, um=1.0):
    sections = [section for source in sources for section in open_sections(source)]
    return list(survey(sections, um))


def bare_field(usable: np.ndarray, tissue: np.ndarray | None = None, use: str = "split") -> Field:
    """A field of which only its cells matter."""

    class Bare:
        pass

    section = Bare()
    section.use = use
    shape = usable.shape[0] * 32, usable.shape[1] * 32
    return Field(section, 1.0, shape, {}, usable, usable if tissue is None else tissue)


def seen(split: Split, fields, variants=6) -> list[np.ndarray]:
    """For each field: 1 where a view may train, 2 where a patch validates, 3 for both."""
    marks = [np.zeros([max(n, SIDE) for n in field.usable.shape], int) for field in fields]
    for index, patch in enumerate(split.train):
        for variant in range(variants):
            view = draw_view(split, index, variant, 0.5, 0)
            marks[patch.field][view.row : view.row + SIDE, view.col : view.col + SIDE] |= 1
    for patch in split.validation:
        marks[patch.field][patch.row : patch.row + SIDE, patch.col : patch.col + SIDE] |= 2
    return marks


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(4, 70), st.integers(4, 70)), min_size=1, max_size=4),
    st.floats(0.05, 0.6),
    st.integers(0, 5),
)
def test_no_cell_trains_and_validates(shapes, share, seed):
    rng = np.random.default_rng(seed)
    fields = []
    for shape in shapes:
        usable = np.ones(shape, bool)
        usable[rng.integers(shape[0]), rng.integers(shape[1])] = False
        fields.append(bare_field(usable))
    try:
        split = split_patches(fields, share, seed)
    except ValueError as error:
        assert "too few patches" in str(error)
        return
    for field, marks in zip(fields, seen(split, fields), strict=True):
        assert not (marks == 3).any()
        rows, cols = field.usable.shape
        assert not (marks[:rows, :cols][~field.usable]).any()


def test_validation_patches_do_not_overlap():
    fields = [bare_field(np.ones((64, 96), bool))]
    split = split_patches(fields, 0.3, 0)
    count = np.zeros((64, 96), int)
    for patch in split.validation:
        count[patch.row : patch.row + SIDE, patch.col : patch.col + SIDE] += 1
    assert count.max() == 1
    share = count.mean()
    assert 0.15 < share < 0.35


def test_a_section_of_a_few_windows_gives_a_strip():
    split = split_patches([bare_field(np.ones((10, 30), bool))], 0.2, 0)
    assert {patch.col for patch in split.validation} == {22}
    assert max(patch.col for patch in split.train) + SIDE <= 22


def test_patches_in_a_folder_stay_whole_and_the_last_validate():
    fields = [bare_field(np.ones((8, 8), bool)) for _ in range(10)]
    split = split_patches(fields, 0.2, 0)
    assert [patch.field for patch in split.train] == list(range(8))
    assert [patch.field for patch in split.validation] == [8, 9]


def test_several_sections_of_few_blocks_stay_whole():
    fields = [bare_field(np.ones((12, 22), bool)) for _ in range(5)]
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.validation} == {4}
    assert {patch.field for patch in split.train} == {0, 1, 2, 3}


@pytest.mark.parametrize(("count", "cut"), [(1, {0}), (2, {1}), (3, {1, 2}), (4, {2, 3})])
def test_of_few_sections_so_many_are_cut_as_give_the_share(count, cut):
    fields = [bare_field(np.ones((12, 22), bool)) for _ in range(count)]
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.validation} == cut
    assert {patch.field for patch in split.train} == set(range(count))


def test_sections_whose_strips_are_the_share_are_all_cut():
    fields = [bare_field(np.ones((10, 60), bool)) for _ in range(3)]
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.validation} == {0, 1, 2}


def test_a_source_may_be_all_for_one_side():
    fields = [bare_field(np.ones((20, 20), bool), use=use) for use in ("train", "validation")]
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.train} == {0}
    assert {patch.field for patch in split.validation} == {1}


def test_images_smaller_than_a_patch_are_completed():
    inside = corners_inside(np.ones((5, 7), bool))
    assert inside.shape == (1, 1)
    assert inside.all()
    assert not corners_inside(np.eye(5, 7, dtype=bool)).any()


def test_too_few_patches_are_refused_with_what_is_needed():
    with pytest.raises(ValueError, match="too few patches: 1 to train and 0 to validate") as caught:
        split_patches([bare_field(np.ones((8, 8), bool))], 0.2, 0)
    assert "512 x 256 um" in str(caught.value)


def test_patches_with_little_tissue_are_drawn_seldom():
    tissue = np.zeros((8, 400), bool)
    tissue[:, :200] = True
    split = split_patches([bare_field(np.ones((8, 400), bool), tissue)], 0.1, 0)
    empty = {k for k, patch in enumerate(split.train) if patch.col >= 200}
    drawn = np.concatenate([epoch_order(split.train, 0, epoch) for epoch in range(200)])
    counts = np.bincount(drawn, minlength=len(split.train))
    full = [count for k, count in enumerate(counts) if k not in empty]
    assert min(full) == 200
    assert np.mean([counts[k] for k in empty]) == pytest.approx(20, abs=8)


def test_an_epoch_is_a_function_of_seed_and_number():
    patches = [Patch(0, k, 0) for k in range(9)]
    assert list(epoch_order(patches, 1, 2)) == list(epoch_order(patches, 1, 2))
    assert list(epoch_order(patches, 1, 2)) != list(epoch_order(patches, 1, 3))
    assert sorted(epoch_order(patches, 1, 2)) == list(range(9))


# ---------------------------------------------------------------- regions


def test_a_rectangle_holds_whole_cells_only(tmp_path):
    from training_data import write_slide

    path = write_slide(tmp_path / "a.ome.tif", (320, 640))
    (field,) = fields_of(SlideSource(path, roi=(0, 0, 320, 330)))
    assert field.usable[:, :10].all()
    assert not field.usable[:, 10:].any()


def test_a_mask_holds_whole_cells_only_and_knows_its_place():
    mask = np.zeros((160, 160), bool)  # of 2 um, from (0, 64) um on
    mask[:64, :65] = True
    region = Region(mask, 2.0, (0.0, 64.0))
    (field,) = fields_of(layers((320, 640), region=region))
    expected = np.zeros((10, 20), bool)
    expected[:4, 2:6] = True
    np.testing.assert_array_equal(field.usable, expected)


def test_where_an_image_does_not_reach_nothing_is_used():
    images = layers((320, 640)).images
    short = {**images, "target": images["target"][:, :400]}
    (field,) = fields_of(SectionSource(short, 1.0))
    assert field.usable[:, :12].all()
    assert not field.usable[:, 13:].any()


# ---------------------------------------------------------------- views


def test_a_view_is_a_function_of_its_number():
    fields = fields_of(layers((320, 1024)))
    split = split_patches(fields, 0.2, 0)
    views = [draw_view(split, 0, variant, 0.5, 3) for variant in range(20)]
    assert views == [draw_view(split, 0, variant, 0.5, 3) for variant in range(20)]
    assert len(set(views)) > 10


def test_a_plain_view_is_the_patch():
    fields = fields_of(layers((320, 1024)))
    patch = Patch(0, 1, 2)
    images = read_view(fields, patch, plain_view(patch))
    assert images.shape == (3, 256, 256)
    np.testing.assert_array_equal(images[2], fields[0].read("target", Box(32, 64, 288, 320)))


def test_turning_and_flipping_move_all_images_alike():
    fields = fields_of(layers((320, 1024)))
    patch = Patch(0, 0, 0)
    plain = read_view(fields, patch, View(0, 0))
    turned = read_view(fields, patch, View(0, 0, turns=1, flip=True))
    np.testing.assert_array_equal(turned, np.rot90(plain, 1, (1, 2))[:, ::-1])


def test_shift_and_gain_befall_the_secondary_alone():
    fields = fields_of(layers((320, 1024)))
    patch = Patch(0, 0, 0)
    plain = read_view(fields, patch, View(0, 0))
    moved = read_view(fields, patch, View(0, 0, shift=(5, -3), gain=0.5))
    np.testing.assert_array_equal(moved[[0, 2]], plain[[0, 2]])
    expected = (plain[1, :200, 100:200] + 1) * 0.5 - 1
    np.testing.assert_allclose(moved[1, 5:205, 97:197], expected, atol=1e-6)


def test_without_jitter_the_secondary_stays_as_it_is():
    split = split_patches(fields_of(layers((320, 1024))), 0.2, 0)
    views = [draw_view(split, 0, variant, 0.0, 0) for variant in range(30)]
    assert {(view.shift, view.gain) for view in views} == {((0, 0), 1.0)}


def test_a_share_of_the_views_misleads():
    split = split_patches(fields_of(layers((320, 1024))), 0.2, 0)
    views = [draw_view(split, 0, variant, 0.4, 0) for variant in range(500)]
    far = [np.hypot(*view.shift) > 10 for view in views]
    faded = [view.gain <= 0.3 for view in views]
    blurred = [view.blur > 0 for view in views]
    for kind in (far, faded, blurred):
        assert np.mean(kind) == pytest.approx(0.4 / 3, abs=0.05)
    misleading = [view for view in views if view.misleads]
    assert len(misleading) == sum(far) + sum(faded) + sum(blurred)
    spotted = np.mean([view.spot is not None for view in misleading])
    assert spotted == pytest.approx(0.5, abs=0.1)


def test_steady_views_leave_the_secondary_where_it_lies_unless_it_misleads():
    split = split_patches(fields_of(layers((320, 1024))), 0.2, 0)
    drawn = [draw_view(split, 0, variant, 0.4, 0, steady=True) for variant in range(60)]
    usual = [draw_view(split, 0, variant, 0.4, 0) for variant in range(60)]
    assert {view.misleads for view in drawn} == {True, False}
    for view, other in zip(drawn, usual, strict=True):
        assert view == other if view.misleads else (view.shift, view.gain) == ((0, 0), 1.0)
        assert (view.row, view.col, view.turns) == (other.row, other.col, other.turns)


def test_a_wider_reach_finds_the_border_and_stays_where_training_is_allowed():
    (field,) = fields_of(layers((416, 1600)))
    split = split_patches([field], 0.2, 0)
    corners = split.corners[0]
    rows = {3: set(), 6: set()}
    for reach, found in rows.items():
        for variant in range(200):
            for index in range(len(split.train)):
                view = draw_view(split, index, variant, 0.0, 0, reach)
                assert corners[view.row, view.col]
                found.add(view.row)
    last = int(np.flatnonzero(corners.any(axis=1))[-1])
    assert last in rows[6]
    assert last not in rows[3]


def test_a_strip_validates_on_tissue_and_not_on_the_glass_beyond():
    tissue = np.zeros((44, 32), bool)
    tissue[:34] = True
    split = split_patches([bare_field(np.ones((44, 32), bool), tissue)], 0.2, 0)
    assert split.validation
    assert all(patch.row + SIDE <= 34 for patch in split.validation)


def test_patches_of_one_section_validate_together():
    fields = [bare_field(np.ones((8, 8), bool)) for _ in range(30)]
    for k, field in enumerate(fields):
        field.section.folder = f"data s{k // 10}"
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.validation} == set(range(20, 30))
    for field in fields:
        field.section.folder = "data"
    split = split_patches(fields, 0.2, 0)
    assert {patch.field for patch in split.validation} == set(range(24, 30))
