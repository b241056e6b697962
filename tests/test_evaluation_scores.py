"""What is measured of a section, on a ground made by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluations import report_of, rows_of

from napari_damm.dataset import Region, SectionSource, open_sections, survey
from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.evaluation.report import NO_MODEL, Row
from napari_damm.evaluation.scores import Ground, ground_of, score
from napari_damm.evaluation.summary import paired_differences, summarise
from napari_damm.evaluation.trivial import METHODS
from napari_damm.util.tiling import Box

SHAPE = (256, 320)


def made_ground(inside=None):
    """A vessel down the middle, and signal that decays from it over 15 um, 0.1 above nothing."""
    x = np.arange(SHAPE[1]) + 0.5
    distance = np.broadcast_to(np.maximum(np.abs(x - 160.0) - 5.0, 0.0), SHAPE)
    # Brighter downwards, so that blocks in a column differ as well.
    bright = np.linspace(0.5, 1.0, SHAPE[0])[:, None]
    truth = (0.1 + 0.8 * bright * np.exp(-distance / 15.0)).astype(np.float32)
    everywhere = np.ones(SHAPE, bool) if inside is None else inside
    return Ground(Box(0, 0, *SHAPE), 1.0, everywhere, truth, distance)


@pytest.fixture(scope="module")
def ground():
    return made_ground()


def test_a_perfect_prediction_has_no_error(ground):
    scores, _ = score(ground, ground.truth.copy())
    for name in ("ssim", "r2", "pearson_r", "icc", "area_icc", "std_ratio"):
        assert scores[name] == pytest.approx(1.0), name
    assert scores["mse"] == 0
    assert scores["psnr"] is None  # infinite
    assert scores["distance_um"] == scores["distance_truth_um"]
    assert scores["distance_error_um"] == 0


def reach_by_integral(decay):
    """Mean of x weighted by exp(-x / decay) less its mean over 80..100, where that is positive."""
    far = decay * (np.exp(-80 / decay) - np.exp(-100 / decay)) / 20
    end = -decay * np.log(far)
    weight = decay * (1 - far) - far * end
    moment = decay**2 - far * (end * decay + decay**2) - far * end**2 / 2
    return moment / weight


def test_the_distance_is_that_of_the_decay(ground):
    scores, _ = score(ground, ground.truth)
    assert scores["distance_truth_um"] == pytest.approx(15.0, rel=0.05)
    assert scores["distance_truth_um"] == pytest.approx(
        reach_by_integral(15.0), abs=0.2
    )  # bins of 5 um


def test_a_constant_offset_costs_mse_but_neither_correlation_nor_icc_nor_distance(ground):
    scores, _ = score(ground, ground.truth + np.float32(0.05))
    assert scores["mse"] == pytest.approx(0.0025, rel=1e-4)
    assert scores["psnr"] == pytest.approx(26.0206, abs=1e-3)  # 10 log10(1 / 0.0025)
    assert scores["std_ratio"] == pytest.approx(1.0, rel=1e-5)
    assert scores["pearson_r"] == pytest.approx(1.0)
    assert scores["icc"] == pytest.approx(1.0)
    assert scores["distance_error_um"] == pytest.approx(0.0, abs=1e-3)


def test_a_prediction_that_reaches_further_has_that_error(ground):
    further = (0.1 + 0.8 * np.exp(-ground.distance_um / 20.0)).astype(np.float32)
    scores, _ = score(ground, further)
    expected = reach_by_integral(20.0) - reach_by_integral(15.0)
    assert scores["distance_error_um"] == pytest.approx(expected, abs=0.1)
    assert scores["distance_um"] > scores["distance_truth_um"]


def test_pixels_that_do_not_count_change_nothing():
    inside = np.ones(SHAPE, bool)
    inside[:, 256:] = False
    ground = made_ground(inside)
    rng = np.random.default_rng(0)
    prediction = ground.truth + rng.normal(0, 0.05, SHAPE).astype(np.float32)
    spoilt = prediction.copy()
    spoilt[:, 256 + 5 :] = 7.0  # SSIM looks 5 px around each pixel
    a, b = (score(ground, image)[0] for image in (prediction, spoilt))
    assert a == b


def test_icc_compares_mean_intensities_of_blocks():
    ground = made_ground()
    shuffled = ground.truth.copy()
    rng = np.random.default_rng(0)
    for y in range(0, SHAPE[0], 64):
        for x in range(0, SHAPE[1], 64):
            block = shuffled[y : y + 64, x : x + 64]
            block[:] = rng.permutation(block.ravel()).reshape(block.shape)
    scores, _ = score(ground, shuffled)
    assert scores["icc"] == pytest.approx(1.0, abs=1e-6)
    assert scores["pearson_r"] < 0.8


def test_bright_areas_are_compared_by_their_size():
    ground = made_ground()
    scores, _ = score(ground, np.full(SHAPE, 0.5, np.float32) * (ground.truth > 0.3))
    assert scores["area_icc"] > 0.9
    scores, _ = score(ground, np.zeros(SHAPE, np.float32))
    assert scores["area_icc"] == pytest.approx(0.0, abs=1e-9)  # all zero: nothing in common
    assert scores["distance_um"] is None
    assert scores["distance_error_um"] is None


def test_without_structures_there_is_no_distance():
    ground = made_ground()
    bare = Ground(ground.box, 1.0, ground.inside, ground.truth, None)
    scores, profile = score(bare, ground.truth)
    assert profile is None
    assert (scores["distance_truth_um"], scores["distance_um"]) == (None, None)
    assert scores["ssim"] == pytest.approx(1.0)


def field_of(region=None, shape=SHAPE):
    rng = np.random.default_rng(0)
    images = {role: rng.integers(1, 4000, shape) for role in ("primary", "secondary", "target")}
    source = SectionSource(images, 1.0, region=region)
    return next(survey(list(open_sections(source)), 1.0))


def test_the_ground_is_the_box_around_whole_cells_of_the_region():
    mask = np.zeros(SHAPE, bool)
    mask[30:130, 60:200] = True  # whole cells of 32 px: 32..128 and 64..192
    ground = ground_of(field_of(Region(mask, 1.0)))
    assert ground.box == Box(32, 64, 128, 192)
    assert ground.inside.shape == ground.truth.shape == (96, 128)
    assert ground.inside.all()


def test_the_truth_is_the_target_scaled_to_0_to_1():
    field = field_of()
    ground = ground_of(field)
    low, high = field.limits["target"]
    pixels = np.asarray(field.section.target.planes[0][:, :])
    expected = np.clip((pixels - low) / (high - low), 0, 1)
    np.testing.assert_allclose(ground.truth, expected, atol=1e-5)


def test_a_region_without_a_whole_cell_is_refused():
    mask = np.zeros(SHAPE, bool)
    mask[10:40, 10:40] = True
    with pytest.raises(ValueError, match="no square of 32 model pixels"):
        ground_of(field_of(Region(mask, 1.0)))


# ---------------------------------------------------------------- over sections


def line(lines, measure, branch="gated"):
    (found,) = [s for s in lines if (s.measure, s.branch) == (measure, branch)]
    return found


def test_the_summary_is_the_mean_over_sections_with_its_interval():
    found = line(summarise(rows_of([0.2, 0.4, 0.9]), EvaluateConfig()), "ssim")
    assert found.mean == pytest.approx(0.5)
    assert 0.2 <= found.low < 0.5 < found.high <= 0.9
    assert found.sections == 3


def test_one_section_has_a_mean_but_no_interval():
    found = line(summarise(rows_of([0.2]), EvaluateConfig()), "ssim")
    assert (found.mean, found.low, found.high, found.sections) == (0.2, None, None, 1)


def test_sections_without_a_number_are_left_out_of_its_mean():
    found = line(summarise(rows_of([0.2, None, 0.4]), EvaluateConfig()), "ssim")
    assert found.mean == pytest.approx(0.3)
    assert found.sections == 2
    nothing = line(summarise(rows_of([None]), EvaluateConfig()), "ssim")
    assert (nothing.mean, nothing.sections) == (None, 0)


def test_the_icc_of_distances_is_over_sections():
    shifted = rows_of([0.1] * 3, distances=[(10.0, 12.0), (20.0, 22.0), (30.0, 32.0)])
    assert line(summarise(shifted, EvaluateConfig()), "distance_icc").mean == pytest.approx(1.0)
    one = rows_of([0.1], distances=[(10.0, 12.0)])
    assert line(summarise(one, EvaluateConfig()), "distance_icc").mean is None


def test_differences_are_paired_by_section():
    # Sections differ far more than models do: only pairing shows that one is better.
    rows = rows_of([0.2, 0.5, 0.8], "new") + rows_of([0.1, 0.41, 0.69], "old")
    found = line(paired_differences(rows, "new", "old", EvaluateConfig()), "ssim")
    assert found.model == "new minus old"
    assert found.mean == pytest.approx(0.1)
    assert 0.08 < found.low < found.high < 0.12


# ---------------------------------------------------------------- the report


def test_a_report_speaks_with_the_names_on_the_model_s_card():
    report = report_of(rows_of([0.25]))
    told = "\n".join(report.table())
    for word in ("T1 only", "T1 + T2", "gated", "m of T1", "0.250"):
        assert word in told
    assert "PET image as taken" in report.truth
    assert "vessels" not in told + report.truth


def test_of_two_models_what_tells_them_apart_is_shown_and_no_more():
    long = "a model whose name is long"
    rows = rows_of([0.2, 0.5, 0.8], long) + rows_of([0.1, 0.41, 0.69], "old")
    rows += [Row(f"s{k}", NO_MODEL, method, {"ssim": 0.3}) for k in range(3) for method in METHODS]
    report = report_of(rows, (long, "old"))
    found = tuple(paired_differences(rows, long, "old", EvaluateConfig()))
    lines = list(replace(report, differences=found).table())
    assert lines[:2] == [f"{long} of T1", "old of T1"]
    header = "a model whose n..., gated old, gated linear model best blur"
    assert " ".join(lines[2].split()) == header
    assert lines[3].split()[0] == "SSIM"
    assert re.findall(r"([\d.]+) \(", lines[3]) == ["0.500", "0.400", "0.300", "0.300"]
    assert lines[4] == f"{long} minus old, both gated, section by section"
    assert lines[5].split() == ["SSIM", "+0.100", "(+0.090", "..", "+0.110)"]
    assert len(lines) == 6
    assert len(replace(report, differences=found).summary_csv().splitlines()) > 100


def test_json_and_tables_have_a_place_for_numbers_that_cannot_be_had():
    report = report_of(rows_of([0.25, None]))
    content = json.loads(report.to_json())
    assert content["rows"][0]["scores"]["ssim"] == 0.25
    assert content["rows"][3]["scores"]["ssim"] is None
    header, first, *_, last = report.sections_csv().splitlines()
    assert header.startswith("section,model,branch,ssim,psnr")
    assert first.startswith("s0,m,uni-modal,0.25,,")
    assert last.startswith("s1,m,gated,,,")
    assert "m,gated,ssim,0.25,,,1" in report.summary_csv().splitlines()


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"mode": "warp"}, "mode must be one of"),
        ({"steps": 0}, "steps must be in 1..1000, got 0"),
        ({"gamma": 2.0}, "gamma must be in 0..1"),
        ({"resamples": 0}, "resamples must be 1 or more, got 0"),
    ],
)
def test_wishes_out_of_range_are_refused(wishes, message):
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**wishes)
