"""Statistics of images, on shapes whose width, length and number are known."""

from __future__ import annotations

from pathlib import Path

import image_statistics
import imagecodecs
import numpy as np
import pytest
import real_pictures
import real_sections
import realism
from scipy import ndimage

from napari_damm.engine.planning import plan
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.slide import slide_from_arrays


def bars(width: int, length: int, shape: tuple[int, int] = (240, 240)) -> np.ndarray:
    """Return three lying bars and one standing one."""
    image = np.zeros(shape)
    for top in (30, 90, 150):
        image[top : top + width, 20 : 20 + length] = 1.0
    image[30 : 30 + length, 200 : 200 + width] = 1.0
    return image


def discs(diameter: float, pitch: int = 20, side: int = 240) -> np.ndarray:
    """Return (side / pitch)^2 discs on a grid."""
    at = np.arange(side) % pitch - (pitch - 1) / 2
    return (np.hypot(at[:, None], at[None, :]) < diameter / 2).astype(float)


@pytest.mark.parametrize(("width", "length"), [(5, 60), (8, 90), (15, 120)])
def test_bars_have_their_width_and_length(width: int, length: int) -> None:
    widths, lengths, means = image_statistics.skeleton_measures(bars(width, length) > 0)
    assert np.median(widths) == pytest.approx(width, abs=0.51)
    np.testing.assert_allclose(lengths, [length] * 4, rtol=0.1)
    np.testing.assert_allclose(means, [width] * 4, rtol=0.2)


def test_vessels_are_found_and_measured_in_noise() -> None:
    image = bars(8, 90) + 0.05 * np.random.default_rng(0).standard_normal((240, 240))
    found = image_statistics.vessel_statistics(image)
    assert found["vessels per mm2"] == pytest.approx(4 / 240**2 * 1e6)
    assert found["vessel area %"] == pytest.approx(100 * 4 * 8 * 90 / 240**2, rel=0.03)
    assert found["vessel width um, p50"] == pytest.approx(8, abs=1.0)
    assert found["vessel length um, p50"] == pytest.approx(90, rel=0.1)
    assert found["vessel length / width"] == pytest.approx(90 / 8, rel=0.2)


def test_a_slanting_line_is_as_long_as_it_is() -> None:
    skeleton = np.eye(100, dtype=bool)
    skeleton[:, :20] = skeleton[:, -20:] = False
    _, length, width = image_statistics.skeleton_measures(skeleton)
    assert length - width == pytest.approx(59 * np.sqrt(2))


def test_a_staircase_counts_no_step_twice() -> None:
    skeleton = np.zeros((20, 20), bool)
    skeleton[4, 3:10] = skeleton[4:12, 9] = True
    links = image_statistics._links(skeleton)
    steps = [step for first, second, step in links for _ in range(int((first & second).sum()))]
    assert sum(steps) == pytest.approx(13.0)


@pytest.mark.parametrize("diameter", [7.0, 9.0, 12.0])
def test_discs_have_their_number_and_diameter(diameter: float) -> None:
    image = ndimage.gaussian_filter(discs(diameter), 0.7)
    found = image_statistics.nuclei_statistics(image)
    assert found["nuclei per mm2"] == pytest.approx(144 / 240**2 * 1e6)
    assert found["nucleus diameter um, p50"] == pytest.approx(diameter, abs=1.0)


def test_nuclei_that_touch_are_told_apart() -> None:
    y, x = np.ogrid[:40, :40]
    pair = sum((np.hypot(y - 20, x - at) < 4.5).astype(float) for at in (16, 24))
    labels, _ = image_statistics.find_nuclei(ndimage.gaussian_filter(np.minimum(pair, 1.0), 0.7))
    assert labels.max() == 2


@pytest.mark.parametrize(("wavelength", "band"), [(3.0, 0), (8.0, 1), (32.0, 2), (100.0, 3)])
def test_a_wave_is_in_the_band_of_its_length(wavelength: float, band: int) -> None:
    wave = np.sin(2 * np.pi * np.arange(401) / wavelength)
    shares = image_statistics.band_shares(np.broadcast_to(wave, (300, 401)))
    assert shares[band] > 0.95
    assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("width", [256, 255])
def test_white_noise_fills_bands_by_their_area(width: int) -> None:
    noise = np.random.default_rng(0).standard_normal((256, width))
    shares = image_statistics.band_shares(noise)
    areas = [1 / low**2 - 1 / high**2 for low, high in image_statistics.BANDS_UM]
    np.testing.assert_allclose(shares, np.divide(areas, sum(areas)), rtol=0.15, atol=0.002)


def test_pixel_noise_is_its_standard_deviation_whatever_it_lies_on() -> None:
    noise = 0.03 * np.random.default_rng(0).standard_normal((240, 240))
    slope = np.linspace(0, 1, 240)[:, None]
    for image in (np.zeros((240, 240)), slope + bars(8, 90)):
        found = image_statistics.noise_statistics(image + noise)
        assert found["pixel noise %"] == pytest.approx(3.0, rel=0.06)


def test_quantiles_ignore_gain_and_offset() -> None:
    image = np.random.default_rng(0).gamma(2.0, 1.0, (64, 64))
    first, second = (
        image_statistics.histogram_statistics(image_statistics.scaled(a))
        for a in (image, 90 + 7 * image)
    )
    assert first == pytest.approx(second)
    assert 0 < first["intensity, p5"] < first["intensity, p99"] <= 1


def test_an_image_without_contrast_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contrast is needed, got 3\.0"):
        image_statistics.scaled(np.full((9, 9), 3))


def test_statistics_of_a_section_are_finite_and_follow_its_nuclei() -> None:
    slide = simulate_slide(256, 10_000, divergence=False)
    found = image_statistics.section_statistics(slide.vessels, slide.nuclei)
    assert np.isfinite(list(found.values())).all()
    fewer = np.where(np.arange(256) < 128, slide.nuclei, np.median(slide.nuclei))
    again = image_statistics.section_statistics(slide.vessels, fewer)
    assert again["nuclei per mm2"] < 0.65 * found["nuclei per mm2"]


PICTURE = real_pictures.Picture("section.jpg", vessels="green", nuclei="blue", tracer="red")


def write_picture(folder: Path, slide: SimulatedSlide) -> None:
    """Write a section as a JPEG: nanoparticles, vessels and nuclei in red, green and blue."""
    channels = (slide.nanoparticles, slide.vessels, slide.nuclei)
    rgb = np.stack([image_statistics.scaled(channel) for channel in channels], axis=-1)
    data = imagecodecs.jpeg_encode((255 * rgb).astype(np.uint8), level=98, subsampling="444")
    (folder / PICTURE.file).write_bytes(data)


def test_pictures_are_measured_in_um_of_the_stated_pixel_size(tmp_path: Path) -> None:
    slide = simulate_slide(384, 10_000, divergence=False)
    write_picture(tmp_path, slide)
    direct = image_statistics.section_statistics(slide.vessels, slide.nuclei)
    whole, half = (realism.real_statistics(PICTURE, tmp_path, um) for um in (1.0, 0.5))
    assert whole["nuclei per mm2"] == pytest.approx(direct["nuclei per mm2"], rel=0.05)
    assert whole["vessel width um, p50"] == pytest.approx(direct["vessel width um, p50"], rel=0.15)
    assert half["nuclei per mm2"] > 2.5 * whole["nuclei per mm2"]
    assert half["nucleus diameter um, p50"] < 0.75 * whole["nucleus diameter um, p50"]


def predicted(np_map: np.ndarray, vessels: np.ndarray) -> real_sections.Prediction:
    """Return a map as if a model had predicted it, of tissue all over."""
    slide = slide_from_arrays({"vessels": vessels, "nuclei": vessels}, pixel_size_um=1.0)
    return real_sections.Prediction(
        slide=slide,
        planned=plan(slide, {"pixel_size_um": 1.0}),
        np=np_map,
        vessels=vessels,
        tissue=np.ones(vessels.shape, bool),
        uncertainty=np.array([[0.2, 0.4, 0.9]]),
        branch=np.array([[1, 2, 0]], np.uint8),
        failed=0,
        seconds=1.0,
    )


def test_a_map_that_fades_from_vessels_is_told_from_a_flat_one() -> None:
    vessels = np.pad(bars(8, 90), 60) + 0.02 * np.random.default_rng(0).random((360, 360))
    away = ndimage.distance_transform_edt(vessels < 0.5)
    found = real_sections.around_vessels(predicted(0.1 + np.exp(-away / 10), vessels))
    rings = [found[f"NP at {ring} um / far"] for ring in ("0-10", "10-20", "20-40", "40-80")]
    assert rings == sorted(rings, reverse=True)
    assert rings[0] == pytest.approx(1 + 10 * (1 - np.exp(-1)), rel=0.1)
    assert found["extravasation distance um"] == pytest.approx(10, abs=2)
    grain = 0.1 + 0.001 * np.random.default_rng(1).random(away.shape)
    flat = real_sections.around_vessels(predicted(grain, vessels))
    assert flat["NP at 0-10 um / far"] == pytest.approx(1, abs=0.01)


def test_a_step_at_a_border_of_windows_is_a_seam() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((300, 480))
    stepped = noise + 0.5 * (np.arange(480) >= 192)
    even, uneven = (real_sections.seams(predicted(image, noise)) for image in (noise, stepped))
    name = "seam at borders: NP"
    assert float(str(even[name]).split()[0]) == pytest.approx(1, abs=0.1)
    assert float(str(uneven[name]).split()[0]) > 2


def test_saturation_branches_and_tracer_are_counted() -> None:
    image = np.linspace(-0.5, 1.5, 90_000).reshape(300, 300)
    found = predicted(image, image)
    light = real_sections.intensities(found)
    assert light["NP below 0 %"] == pytest.approx(25, abs=0.1)
    assert light["NP above 1 %"] == pytest.approx(25, abs=0.1)
    cells = real_sections.branches(found)
    assert cells["uncertainty mean"] == pytest.approx(0.3)
    assert cells["multi-modal %"] == pytest.approx(50)
    assert real_sections.against_tracer(found, 7 - image)["r with tracer: NP"] == pytest.approx(-1)


@pytest.mark.parametrize(("value", "mark"), [(5.0, ""), (0.5, "."), (9.5, "."), (-1.0, "!")])
def test_real_values_are_marked_where_training_does_not_reach(value: float, mark: str) -> None:
    assert realism.place(value, [0.0, 1.0, 5.0, 9.0, 10.0]) == mark


def test_the_command_prints_every_preset_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "realism.json"
    realism.main(["--sections", "2", "--size", "128", "--json", str(path)])
    printed = capsys.readouterr().out
    assert all(preset in printed for preset in ("internal", "external", "varied"))
    assert '"vessel area %"' in path.read_text()
