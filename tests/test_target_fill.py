"""Where the image of the particles has no picture there is nothing to learn, or to judge on."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from evaluations import section_folder
from training_data import images, layers, write_folder

from napari_damm.dataset import FolderSource, SectionSource, open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.evaluation.opening import survey_all
from napari_damm.evaluation.scores import ground_of

SHAPE = (512, 1024)
FILL = [np.nan, 0.0, -9999.0, 9999.0]


def field_of(target, um=1.0, **others):
    given = images(SHAPE) | {"target": target} | others
    (section,) = open_sections(SectionSource(given, 1.0))
    return next(survey([section], um))


def target(value=0.0, *where):
    image = images(SHAPE)["target"].astype(np.float32)
    for part in where:
        image[part] = value
    return image


def used(field):
    return field.usable.repeat(32, 0).repeat(32, 1)[: field.shape[0], : field.shape[1]]


@pytest.mark.parametrize("value", FILL)
def test_fill_of_the_target_is_not_evaluated(value):
    field = field_of(target(value, np.s_[:256]))
    clear = used(field)
    assert not clear[:264].any()  # nor what looks at it from beside
    assert clear[288:].all()
    assert ground_of(field).inside.sum() == clear.sum()
    assert field.filled_share == pytest.approx(9 / 16)
    assert "is fill (one value, or NaN, at its border) in 56 %" in field.said_of_fill("T1")


@pytest.mark.parametrize("value", FILL)
def test_no_patch_holds_fill_of_the_target(value):
    field = field_of(target(value, np.s_[:, :420]))
    split = split_patches([field], 0.4, 0)
    assert split.train
    assert split.validation
    for patch in (*split.train, *split.validation):
        assert patch.box.x0 >= 420


@pytest.mark.parametrize("value", FILL)
def test_a_narrow_strip_costs_a_row_of_cells(value):
    clear = used(field_of(target(value, np.s_[:, -10:])))
    assert clear[:, :-32].all()
    assert not clear[:, -10:].any()


@pytest.mark.parametrize("um", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("value", FILL)
def test_fill_is_found_at_any_pixel_size(value, um):
    field = field_of(target(value, np.s_[:, :300]), um)
    clear = used(field)
    assert not clear[:, : int(300 / um)].any()
    assert clear[:, int(300 / um) + 48 :].all()


def test_the_limits_are_those_of_what_is_left():
    whole = field_of(target())
    for value in FILL:
        field = field_of(target(value, np.s_[:256]))
        np.testing.assert_allclose(field.limits["target"], whole.limits["target"], rtol=0.05)


def test_a_subtracted_background_is_no_fill():
    """Few particles, and exactly 0 between them, up to the border."""
    rng = np.random.default_rng(0)
    few = np.zeros(SHAPE, np.uint16)
    for y, x in rng.integers(0, SHAPE, (800, 2)):
        few[y : y + 12, x : x + 12] = rng.integers(300, 900)
    few[:200, :200] = 0
    field = field_of(few)
    assert field.usable.all()
    assert field.said_of_fill("T1") == ""
    framed = few.astype(np.float32)
    framed[:256] = np.nan
    assert not used(field_of(framed))[:256].any()
    assert used(field_of(framed))[288:].all()


def test_one_value_inside_the_picture_is_no_fill():
    assert field_of(target(0.0, np.s_[200:300, 200:300])).usable.all()
    clear = used(field_of(target(0.0, np.s_[200:300, 200:300], np.s_[:, -40:])))
    assert clear[200:300, 200:300].all()
    assert not clear[:, -40:].any()


def test_vessels_without_a_picture_alone_prove_nothing():
    dark = images(SHAPE)["primary"]
    dark[:256] = 0
    assert field_of(target(), primary=dark).usable.all()


def test_infinite_pixels_of_the_target_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        field_of(target(np.inf, np.s_[:256]))


def test_a_training_says_what_it_leaves_out(tmp_path):
    from models import CARD, random_model, tiny_config

    from napari_damm.train.config import TrainConfig
    from napari_damm.train.setup import Base, measure

    model = random_model(tiny_config((32,) * 4, (32,) * 4))
    model.card = CARD
    source = SectionSource(images(SHAPE) | {"target": target(np.nan, np.s_[:, :300])}, 1.0)
    said = list(measure(list(open_sections(source)), Base(model, "m", "0"), TrainConfig()))
    texts = [getattr(event, "message", "") for event in said]
    assert any("is fill" in text and "left out" in text for text in texts)


@pytest.mark.parametrize("value", [0, 700])
def test_a_patch_without_particles_is_learnt_from_but_not_judged(tmp_path, value):
    folder = write_folder(tmp_path, 3)
    tifffile.imwrite(folder / "QD" / "patch_01.tif", np.full((256, 256), value, np.uint16))
    sections = list(open_sections(FolderSource(folder, pixel_size_um=1.0)))
    empty = list(survey(sections, 1.0))[1]
    assert empty.usable.all()
    message = f"the target image of patch_01.tif is blank, all its pixels are {value}"
    with pytest.raises(ValueError, match=message):
        list(survey(sections, 1.0, not_blank=("target",)))


def test_dark_tissue_that_touches_the_border_is_no_fill():
    dark = target(0.0, np.s_[:20, 100:130], np.s_[300:340, :28], np.s_[-12:, 700:900])
    assert used(field_of(dark)).all()
    assert not used(field_of(target(0.0, np.s_[:40, 100:180]))).all()  # a whole cell
    assert not used(field_of(target(0.0, np.s_[:8, :600]))).all()  # half of a side


def test_sections_with_blank_images_are_named_and_the_others_evaluated(tmp_path):
    folder = section_folder(tmp_path / "data", 4)
    for k, stain in enumerate(("CD31", "DAPI", "QD")):
        path = folder / stain / f"s{k}.ome.tif"
        tifffile.imwrite(path, np.full((256, 256), 300, np.uint16))
    found = dict(survey_all(list(open_sections(FolderSource(folder, pixel_size_um=1.0))), 1.0))
    for k, role in enumerate(("primary", "secondary", "target")):
        assert f"the {role} image of s{k}.ome.tif is blank" in str(found[f"s{k}.ome.tif"])
    assert ground_of(found["s3.ome.tif"]).inside.all()


def test_a_folder_whose_images_are_all_blank_is_named_as_such(tmp_path):
    folder = write_folder(tmp_path, 2)
    for path in (folder / "QD").iterdir():
        tifffile.imwrite(path, np.full((256, 256), 5, np.uint16))
    sections = list(open_sections(FolderSource(folder, pixel_size_um=1.0)))
    with pytest.raises(ValueError, match=r"every target image of .* is blank"):
        list(survey(sections, 1.0))


def test_clean_layers_lose_nothing():
    (section,) = open_sections(layers())
    (field,) = survey([section], 1.0)
    assert field.usable.all()
    assert field.filled_share == 0
