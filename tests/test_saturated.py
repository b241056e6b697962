"""A target that is cut off at the camera's top is told of before it is learnt or judged."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from models import CARD
from scipy import ndimage

from napari_damm.dataset import SectionSource, open_sections, survey
from napari_damm.evaluation.registration import Placed
from napari_damm.evaluation.saturated import _own_pixels, said_of_saturated
from napari_damm.events import Notice
from napari_damm.simulate import simulate_slide
from napari_damm.slide.raster import Raster
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import measure
from napari_damm.util.tiling import Box


@cache
def drawn():
    return simulate_slide(544, 10_701)


def source(share: float = 0.0, um: float = 1.0) -> SectionSource:
    """A section whose target is cut off where it is brightest, on this share of its pixels."""
    section = drawn()
    target = section.nanoparticles
    if share:
        target = np.minimum(target, np.quantile(target, 1 - share).astype(target.dtype))
    images = {"primary": section.vessels, "secondary": section.nuclei, "target": target}
    return SectionSource(images, um, name="s")


def said(given: SectionSource) -> str:
    return said_of_saturated(list(survey(list(open_sections(given)), 1.0)), "dots")


@pytest.mark.parametrize("um", [1.0, 0.8])
def test_a_share_at_the_top_is_said_and_a_few_pixels_are_not(um):
    assert said(source(um=um)) == ""
    assert said(source(0.0005, um)) == ""
    told = said(source(0.04, um))
    assert told.startswith("the dots image of s is saturated on ")
    assert f"greatest value, {source(0.04).images['target'].max():g})" in told


def with_target(target: np.ndarray) -> str:
    images = {"primary": drawn().vessels, "secondary": drawn().nuclei, "target": target}
    return said(SectionSource(images, 1.0, name="s"))


@cache
def relative() -> np.ndarray:
    """The target in 0..1, where it is brightest cut off on a few pixels."""
    target = drawn().nanoparticles.astype(np.float32)
    low, high = target.min(), np.quantile(target, 0.9995)
    return np.clip((target - low) / (high - low), 0, 1)


def between(levels: np.ndarray) -> np.ndarray:
    """Four of five rows as they are, and the fifth between its neighbours."""
    mixed = levels.astype(np.float32)
    mixed[5:-1:5] += np.float32(0.3) * (mixed[6::5][: len(mixed[5:-1:5])] - mixed[5:-1:5])
    return mixed


def sparse(photons: float) -> np.ndarray:
    rng, dots = np.random.default_rng(0), np.zeros((544, 544))
    dots[tuple(rng.integers(0, 544, (2, 400)))] = rng.gamma(2, 1, 400)
    blurred = ndimage.gaussian_filter(dots, 1.2)
    return rng.poisson(photons * blurred / blurred.max()).astype(np.uint8)


@pytest.mark.parametrize(
    "target",
    [
        lambda: np.floor(7 * 0.999 * relative()).astype(np.uint8),
        lambda: np.floor(2.999 * relative()).astype(np.uint8),
        lambda: between(np.round(6 * relative() ** 0.2)),
        lambda: (np.round(3 * relative() ** 0.5) * 85).astype(np.uint8),
        lambda: np.round(255 * relative()).astype(np.uint8),
        lambda: np.random.default_rng(0).poisson(0.05 + 1.5 * relative()).astype(np.uint8),
        lambda: sparse(6),
        lambda: sparse(200),
    ],
    ids=[
        "7 levels",
        "3 levels",
        "7 upscaled",
        "4 levels",
        "8 bit",
        "photons",
        "few photons",
        "sparse",
    ],
)
def test_few_grey_levels_and_few_particles_are_not_saturated(target):
    assert with_target(target()) == ""


@pytest.mark.parametrize(("share", "levels"), [(0.04, 255), (0.1, 20), (0.3, 6)])
def test_an_image_of_few_grey_levels_that_is_cut_off_is_saturated(share, levels):
    cut = np.minimum(relative() / np.quantile(relative(), 1 - share), 1)
    told = with_target(np.round(levels * cut).astype(np.uint8))
    assert f"(all at its greatest value, {levels})" in told


@pytest.mark.parametrize("share", [0.002, 0.07])
def test_a_mask_as_target_is_called_one_and_not_saturated(share):
    mask = 255 * (relative() > np.quantile(relative(), 1 - share)).astype(np.uint8)
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0
    told = with_target(mask)
    assert told.startswith("the dots image of s has only 2 values (0, 255), as a mask: ")
    mask[300, 300:320] = 100
    assert "has hardly more than 2 values (0, 255)" in with_target(mask)


def test_classes_as_target_are_called_a_mask():
    at, higher = np.quantile(relative(), [0.9, 0.94])
    classes = np.where(relative() > higher, 9, relative() > at)
    classes[:1], classes[-1:], classes[:, :1], classes[:, -1:] = 0, 0, 0, 0
    assert "has only 3 values (0, 1, 9), as a mask" in with_target(classes.astype(np.uint8))


def test_a_mask_that_fills_its_border_is_refused_as_one_and_not_as_blank():
    mask = (relative() > np.quantile(relative(), 0.93)).astype(np.uint8)
    mask[0, 100:200] = 1
    with pytest.raises(ValueError, match=r"nothing but patches of few values \(0, 1\), as a mask"):
        with_target(mask)
    with pytest.raises(ValueError, match="target image of s is blank, nearly all its pixels are 7"):
        with_target(np.full_like(mask, 7))


def test_a_target_that_lies_elsewhere_is_looked_at_in_its_own_pixels():
    """Its windows are where tissue is, whatever its pixels and its corner."""
    fine = np.kron(source(0.04).images["target"], np.ones((2, 2), np.uint16))
    target = Raster("dots", (np.pad(fine, ((40, 0), (80, 0))),), 0.5, (-20.0, -40.0))
    (field,) = survey(list(open_sections(source())), 1.0)
    box = Box(192, 192, 448, 448)
    moved = replace(field, section=replace(field.section, target=target))
    there = source(0.04).images["target"][192:448, 192:448]
    np.testing.assert_array_equal(_own_pixels(moved, box), np.kron(there, np.ones((2, 2))))


def test_an_image_of_one_value_or_without_windows_is_no_matter_of_exposure():
    (field,) = survey(list(open_sections(source())), 1.0)
    flat = Raster("dots", (np.zeros((544, 544), np.uint8),), 1.0)
    blank = replace(field, section=replace(field.section, target=flat))
    assert said_of_saturated([blank], "dots") == ""
    assert said_of_saturated([], "dots") == ""


class Unreadable:
    """A plane whose decoder fails in its own way."""

    shape, dtype = (544, 544), np.dtype(np.uint8)

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, key: object) -> np.ndarray:
        raise self.error


def test_an_image_that_cannot_be_read_is_for_others_to_tell():
    (field,) = survey(list(open_sections(source())), 1.0)
    for error in (RuntimeError("codec broke"), KeyError("x"), MemoryError()):
        target = Raster("dots", (Unreadable(error),), 1.0)
        broken = replace(field, section=replace(field.section, target=target))
        if isinstance(error, MemoryError):
            with pytest.raises(MemoryError):
                said_of_saturated([broken], "dots")
        else:
            assert said_of_saturated([broken], "dots") == ""


def warnings_of(events) -> list[str]:
    return [e.message for e in events if isinstance(e, Notice) and "is saturated on" in e.message]


def test_of_the_patches_of_a_folder_it_is_said_once():
    (field,) = survey(list(open_sections(source(0.04))), 1.0)
    patch = replace(field, section=replace(field.section, folder="patches"))
    placed, card = Placed(), {"modalities": ("vessels", "nuclei", "dots")}
    assert [len(placed.said_of(each, card)) for each in (patch, patch, field, field)] == [
        1, 0, 1, 1,
    ]  # fmt: skip
    assert "image of patches is saturated" in said_of_saturated([patch, patch], "dots")


def test_a_training_says_it_before_its_first_step():
    base = SimpleNamespace(model=SimpleNamespace(card={**CARD, "pixel_size_um": 1.0}))
    (told,) = warnings_of(measure(list(open_sections(source(0.04))), base, TrainConfig()))
    assert told.startswith("the nanoparticles image of s is saturated")
