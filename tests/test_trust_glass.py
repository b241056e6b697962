"""A section is judged where it is tissue: around small ones there is glass, or nothing at all."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from trusting import card, section, slide

from napari_damm.engine.planning import plan
from napari_damm.engine.trusted import trust_before
from napari_damm.simulate import simulate_slide
from napari_damm.slide import slide_from_arrays
from napari_damm.trust.glass import all_tissue
from napari_damm.trust.section import assess, look
from napari_damm.util.tiling import Lattice

TISSUE = slice(600, 1240), slice(500, 1140)
SIDE = 1280


def on_glass(image: np.ndarray, dark: float, rng: np.random.Generator) -> np.ndarray:
    """Return a round section in a larger picture of dim noise; dark 0: of zeros."""
    glass = rng.poisson(dark, (SIDE, SIDE)).astype(np.float32)
    y, x = np.mgrid[:640, :640]
    inside = np.hypot(y - 320, x - 320) < 310
    glass[TISSUE][inside] = image[inside]
    return glass


@pytest.fixture(scope="module")
def bundled_card():
    from napari_damm.model_file import find_model, read_card

    return read_card(find_model())


@pytest.mark.parametrize("dark", [0.0, 0.6])
def test_glass_and_fill_around_good_tissue_are_not_held_against_it(dark, bundled_card):
    rng = np.random.default_rng(0)
    drawn = simulate_slide(640, 10_610)
    images = {
        name: on_glass(image, dark * np.percentile(image, 1), rng)
        for name, image in (("vessels", drawn.vessels), ("nuclei", drawn.nuclei))
    }
    given = slide_from_arrays(images, 1.0)
    assert look(given, bundled_card).verdict == "use"
    planned = plan(given, bundled_card)
    found, _ = trust_before(given, SimpleNamespace(card=bundled_card), planned)
    assert (found["verdict"], found["reasons"]) == ("use", [])


def test_before_a_run_tissue_is_looked_for_where_the_nine_windows_show_glass(bundled_card):
    rng = np.random.default_rng(0)
    drawn, images = simulate_slide(640, 10_610), {}
    for name in ("vessels", "nuclei"):
        images[name] = rng.poisson(70, (4096, 4096)).astype(np.uint16)
        images[name][1230:1870, 2540:3180] = getattr(drawn, name)
    assert look(slide_from_arrays(images, 1.0), bundled_card).verdict == "use"
    noise = {name: image[:1200, :1200] for name, image in images.items()}
    assert look(slide_from_arrays(noise, 1.0), bundled_card).verdict == "do not use"


def test_windows_of_tissue_alone_are_known_to_the_plan():
    vessels, nuclei = (np.tile(image, (4, 4)) for image in section())
    whole = plan(slide(vessels, nuclei), card())
    assert sorted(whole.inner) == sorted(whole.windows)
    assert whole.bare().inner == ()
    for image in (vessels, nuclei):
        image[:, :512] = 0  # fill
    half = plan(slide(vessels, nuclei), card())
    lattice = Lattice((1024, 1024))
    assert half.inner
    assert all(lattice.window_box(*window).x0 >= 512 - 32 for window in half.inner)
    assert len(half.inner) < len(half.windows) < len(whole.windows)


def test_windows_with_a_part_of_glass_are_told_from_those_without():
    vessels, nuclei = (image.astype(np.float32) for image in section())
    glass = [np.full_like(vessels, 100), np.full_like(vessels, 100)]
    part = [image.copy() for image in (vessels, nuclei)]
    for image in part:
        image[:100, :100] = 100
    one_dark = [part[0], nuclei]  # there is tissue without vessels
    pairs = [(vessels, nuclei), tuple(part), tuple(one_dark), tuple(glass)]
    assert all_tissue(pairs) == [0, 2]
    assert all_tissue([]) == []


def test_where_no_window_is_tissue_all_over_those_there_are_are_judged():
    vessels, nuclei = (image.copy() for image in section())
    for image in (vessels, nuclei):
        image[:100, :100] = image.min()
    given = slide(vessels, nuclei)
    assert look(given, card()) is not None
    planned = plan(given, card())
    assert assess(given, card(), 1.0, planned.normalisation, planned.windows) is not None
