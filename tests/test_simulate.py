"""Simulated sections: reproducible, physical, and as hard as was frozen before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from section_metrics import auroc, best_blur

from napari_damm import simulate
from napari_damm.simulate import SimulatedSlide, simulate_slide, training_seed, write_section
from napari_damm.simulate.divergence import DivergenceConfig, plant_divergence
from napari_damm.simulate.fields import smooth_field
from napari_damm.simulate.jpeg import JPEGConfig, compress
from napari_damm.simulate.microscope import FULL_SCALE
from napari_damm.simulate.particles import ParticleConfig, bind, solve_steady_state
from napari_damm.util import metrics

IMAGES = ("vessels", "nuclei", "nanoparticles")


@pytest.fixture(scope="module")
def slides() -> dict[str, list[SimulatedSlide]]:
    """Three sections of 512 px per preset, of seeds no training uses."""
    return {
        preset: [simulate_slide(512, 10_000 + i, preset) for i in range(3)]
        for preset in simulate.PRESETS
    }


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = simulate_slide(128, 7), simulate_slide(128, 7)
    for name, array in first.channels().items():
        np.testing.assert_array_equal(array, second.channels()[name])


def test_another_seed_gives_another_section() -> None:
    assert not np.array_equal(simulate_slide(128, 7).vessels, simulate_slide(128, 8).vessels)


def test_presets_are_different_populations(slides: dict[str, list[SimulatedSlide]]) -> None:
    assert not np.array_equal(slides["internal"][0].nuclei, slides["external"][0].nuclei)
    # The external camera reads more background in the vessel stain.
    floor = {p: np.mean([np.median(s.vessels) for s in slides[p]]) for p in slides}
    assert floor["external"] > 1.2 * floor["internal"]
    # Its larger particles stay closer to the vessels: less of the section is reached.
    reached = {
        p: np.mean(
            [(s.nanoparticles_true > s.nanoparticles_true.max() / 8).mean() for s in slides[p]]
        )
        for p in slides
    }
    assert reached["external"] < reached["internal"]


@pytest.mark.parametrize("size", [64, (300, 417)])
def test_any_size_gives_that_shape(size: int | tuple[int, int]) -> None:
    slide = simulate_slide(size, 3)
    shape = (size, size) if isinstance(size, int) else size
    assert {a.shape for a in slide.channels().values()} == {shape}
    assert slide.divergence.any()


def test_channels_have_their_types_and_ranges(slides: dict[str, list[SimulatedSlide]]) -> None:
    for slide in (s for group in slides.values() for s in group):
        for name in IMAGES:
            image = getattr(slide, name)
            assert image.dtype == np.uint16
            assert image.max() <= FULL_SCALE
            assert (image == FULL_SCALE).mean() < 0.002
            dim = 1.5 if slide.preset == "varied" else 2
            assert np.percentile(image, 99.9) > dim * np.median(image)
        assert slide.nanoparticles_true.dtype == np.float32
        assert slide.nanoparticles_true.min() >= 0
        assert slide.divergence.dtype == np.uint8
        assert set(np.unique(slide.divergence)) == {0, 1}
        assert slide.pixel_size_um == 1.0


def test_divergence_changes_the_nuclei_image_alone() -> None:
    on, off = simulate_slide(256, 11), simulate_slide(256, 11, divergence=False)
    for name in ("vessels", "nanoparticles", "nanoparticles_true"):
        np.testing.assert_array_equal(getattr(on, name), getattr(off, name))
    assert not off.divergence.any()
    assert 0.02 < on.divergence.mean() < 0.6
    differs = on.nuclei.astype(float) - off.nuclei
    inside = np.abs(differs[on.divergence == 1]).mean()
    far = ndimage.distance_transform_edt(on.divergence == 0) > 60
    assert inside > 3 * np.abs(differs[far]).mean()


def test_every_kind_of_divergence_keeps_the_mean_stain() -> None:
    stain = np.exp(smooth_field(np.random.default_rng(0), (400, 400), 3.0))
    config = DivergenceConfig(area=(0.5, 0.5))
    image, mask = plant_divergence(config, np.random.default_rng(1), stain)
    within = mask == 1
    assert image[within].mean() == pytest.approx(stain[within].mean(), rel=0.25)
    assert metrics.pearson_r(stain[within], image[within]) < 0.8


def test_difficulty_is_within_the_frozen_bounds(slides: dict[str, list[SimulatedSlide]]) -> None:
    for preset, group in slides.items():
        # what is only trained on may be easier (bound tracers) and dirtier (bleed-through)
        easiest, dirtiest = (0.75, 0.8) if preset == "varied" else (0.6, 0.9)
        blur = [best_blur(s.vessels, s.nanoparticles, (2, 4, 8, 16, 32))[1] for s in group]
        imaged = [metrics.pearson_r(s.nanoparticles, s.nanoparticles_true) for s in group]
        assert 0.3 <= np.mean(blur) <= easiest
        assert np.mean(imaged) > dirtiest
        for box in (17, 65):
            means = [ndimage.uniform_filter(s.nuclei.astype(float), box)[::4, ::4] for s in group]
            areas = [auroc(s.divergence[::4, ::4], m) for s, m in zip(group, means, strict=True)]
            assert max(np.mean(areas), 1 - np.mean(areas)) <= 0.75


def test_leakiness_is_mostly_visible() -> None:
    config = simulate.PRESETS["internal"]
    seen = replace(config, vessels=replace(config.vessels, hidden_leakiness=0.0))
    truth = simulate_slide(384, 12).nanoparticles_true
    visible = simulate_slide(384, 12, config=seen).nanoparticles_true
    assert 0.85 < metrics.pearson_r(truth, visible) ** 2 < 1.0


def test_particles_stay_out_of_nuclei() -> None:
    config = simulate.PRESETS["internal"]
    kept_out = replace(config, particles=replace(config.particles, exclusion=(0.9, 0.9)))
    let_in = replace(config, particles=replace(config.particles, exclusion=(0.0, 0.0)))
    nuclei = simulate_slide(256, 13, divergence=False).nuclei.astype(float)
    bright = nuclei > np.percentile(nuclei, 85)
    share = [
        s.nanoparticles_true[bright].mean() / s.nanoparticles_true.mean()
        for s in (simulate_slide(256, 13, config=c) for c in (kept_out, let_in))
    ]
    assert share[0] < 0.7 * share[1]


def test_the_steady_state_of_a_plane_source_decays_over_the_diffusion_length() -> None:
    source = np.zeros((4, 201))
    source[:, 0] = 1.0
    c = solve_steady_state(source, np.full_like(source, 100.0), np.ones_like(source), 1.0, 1e-10)
    # sqrt(D / k) = 10 um, away from the far wall.
    np.testing.assert_allclose(c[0, 10:60] / c[0, 0:50], np.exp(-1.0), rtol=2e-3)


def test_the_steady_state_clears_all_that_leaks_in() -> None:
    rng = np.random.default_rng(0)
    source, clearance = rng.random((40, 57)), 0.5 + rng.random((40, 57))
    diffusion = np.exp(rng.standard_normal((40, 57)))
    c = solve_steady_state(source, diffusion, clearance, 2.0, 1e-9)
    assert c.min() > 0
    assert (clearance * c).sum() == pytest.approx(source.sum(), rel=1e-6)


def test_a_smooth_field_has_zero_mean_and_unit_variance() -> None:
    for scale in (1.3, 12.0):
        field = smooth_field(np.random.default_rng(0), (600, 500), scale)
        assert abs(field.mean()) < 0.15
        assert field.std() == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 63, "seed": 0}, "size must be 64 px or more a side, got 63"),
        ({"size": (64, 10), "seed": 0}, "size must be 64"),
        ({"size": (64, 64, 3), "seed": 0}, "size must be"),
        ({"size": 64.5, "seed": 0}, "size must be"),
        ({"size": 64, "seed": -1}, "seed must be an integer of 0 or more, got -1"),
        ({"size": 64, "seed": 1.5}, "seed must be"),
        ({"size": 64, "seed": 0, "preset": "lab"}, "external, varied, got 'lab'"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_slide(**arguments)  # type: ignore[arg-type]


def test_training_seeds_stop_short_of_the_evaluation_seeds() -> None:
    assert training_seed(9_999) == 9_999
    for index in (-1, simulate.EVALUATION_SEEDS_FROM):
        with pytest.raises(ValueError, match=f"reserved for evaluation.*got {index}"):
            training_seed(index)


def test_the_file_carries_channels_names_and_pixel_size(tmp_path: Path) -> None:
    slide = simulate_slide((70, 300), 5)
    path = write_section(slide, tmp_path / "section.ome.tif")
    with tifffile.TiffFile(path) as tif:
        stack = tif.series[0].asarray()
        assert tif.pages[0].is_tiled
        image = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert stack.dtype == np.uint16
    assert tuple(c["Name"] for c in image["Channel"]) == simulate.CHANNELS
    assert (image["PhysicalSizeX"], image["PhysicalSizeXUnit"]) == (1.0, "µm")
    assert (image["PhysicalSizeY"], image["PhysicalSizeYUnit"]) == (1.0, "µm")
    for written, array in zip(stack, slide.channels().values(), strict=True):
        np.testing.assert_array_equal(written, np.rint(array))


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        write_section(simulate_slide(64, 5), tmp_path / "section.ome.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "means"),
    [
        ("internal", (189.046, 275.300, 556.514, 0.374, 354.855)),
        ("external", (252.211, 622.013, 443.408, 0.356, 195.141)),
    ],
)
def test_sections_are_those_the_difficulty_was_frozen_on(
    preset: str, means: tuple[float, ...]
) -> None:
    # A change here means new difficulty numbers and a new training run, not a new test.
    measured = [a.mean() for a in simulate_slide(128, 10_000, preset).channels().values()]
    np.testing.assert_allclose(measured, means, rtol=0.01)


@pytest.mark.parametrize("preset", ["internal", "external"])
def test_presets_to_judge_on_know_neither_bound_tracers_nor_jpeg(preset: str) -> None:
    config = simulate.PRESETS[preset]
    rng, stain = np.random.default_rng(0), np.ones((64, 64), np.float32)
    assert bind(config.particles, rng, stain, stain) is stain
    counts = np.ones((64, 64), np.uint16)
    assert compress(config.optics.jpeg, rng, counts, counts, counts)[0] is counts


def test_bound_particles_lie_where_the_vessels_are() -> None:
    rng = np.random.default_rng(1)
    vessel = np.zeros((200, 200), np.float32)
    vessel[:, 90:110] = 1.0
    haze = np.full((200, 200), 0.5, np.float32)
    config = ParticleConfig(bound_sections=1.0, bound=(0.8, 0.8))
    seen = bind(config, rng, haze, vessel)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, :90], 0.2 * 0.5, rtol=1e-6)
    assert seen[:, 90:110].mean() > 0.2
    assert np.corrcoef(seen.ravel(), vessel.ravel())[0, 1] > 0.6


def test_a_jpeg_keeps_counts_and_smears_channels_into_each_other() -> None:
    rng = np.random.default_rng(2)
    red = rng.integers(100, 2000, (96, 80)).astype(np.uint16)
    green = np.full_like(red, 300)
    green[40:60, 30:50] = 1500
    blue = np.full_like(red, 200)
    blue[::7] = 900
    kept = compress(JPEGConfig(1.0, (90.0, 90.0)), rng, red, green, blue)
    for before, after in zip((red, green, blue), kept, strict=True):
        assert after.dtype == np.uint16
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.5
        assert not np.array_equal(before, after)
    coarse = compress(JPEGConfig(1.0, (10.0, 10.0)), rng, red, green, blue)
    given = np.stack([red, green, blue]).astype(float)
    fine, rough = (np.abs(np.stack(a) - given).mean() for a in (kept, coarse))
    assert fine < rough


def test_a_section_in_which_nothing_is_stained_survives_the_jpeg() -> None:
    black = np.full((64, 64), 100, np.uint16)
    for counts in compress(JPEGConfig(1.0), np.random.default_rng(3), black, black, black):
        np.testing.assert_array_equal(counts, black)
