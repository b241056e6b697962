"""The plan: wishes checked, regions rounded outward, every window in its shards."""

from __future__ import annotations

import numpy as np
import pytest
from models import random_model

from napari_damm.engine.config import PredictConfig, default_batch
from napari_damm.engine.job import survey
from napari_damm.engine.planning import plan
from napari_damm.model import DAMMConfig
from napari_damm.slide import slide_from_arrays
from napari_damm.util.tiling import Box

CARD = {"pixel_size_um": 1.0}


@pytest.fixture(scope="module")
def slide():
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 4000, (700, 500), np.uint16) for name in ("vessels", "nuclei")}
    return slide_from_arrays(images, pixel_size_um=0.5, origin=(10.0, 20.0))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"mode": "best"}, "best"),
        ({"device": "tpu"}, "tpu"),
        ({"steps": 0}, "0"),
        ({"steps": 1001}, "1001"),
        ({"seed": -1}, "-1"),
        ({"gamma": 1.5}, "1.5"),
        ({"batch_size": 0}, "0"),
        ({"lanes": -2}, "-2"),
        ({"order": "random"}, "random"),
        ({"roi": (0, 0, 0, 5)}, "0 0 0 5"),
        ({"roi": (0, 0, float("nan"), 5)}, "nan"),
    ],
)
def test_a_bad_wish_is_refused_by_value(values, named):
    with pytest.raises(ValueError, match=next(iter(values))) as caught:
        PredictConfig(**values)
    assert named in str(caught.value)


def test_the_grid_has_the_models_pixel_size(slide):
    planned = plan(slide, CARD)
    assert planned.layout.shape == (350, 250)
    assert planned.layout.pixel_size_um == 1.0
    assert planned.layout.origin == (10.0, 20.0)


def test_a_model_without_pixel_size_takes_the_slides(slide):
    assert plan(slide, {"pixel_size_um": None}).layout.shape == (700, 500)


def test_a_region_is_rounded_outward_to_model_pixels(slide):
    planned = plan(slide, CARD, PredictConfig(roi=(101, 60, 301, 199)))
    assert planned.region == Box(50, 30, 151, 100)
    assert planned.layout.origin == (60.0, 50.0)


def test_a_region_is_clipped_to_the_slide_and_refused_outside(slide):
    assert plan(slide, CARD, PredictConfig(roi=(-50, -50, 9e9, 100))).region == Box(0, 0, 350, 50)
    with pytest.raises(ValueError, match="outside the image of 700 x 500"):
        plan(slide, CARD, PredictConfig(roi=(800, 0, 900, 100)))


def test_normalisation_of_a_region_is_that_of_the_whole_slide(slide):
    region = plan(slide, CARD, PredictConfig(roi=(0, 0, 80, 80)))
    assert region.normalisation == plan(slide, CARD).normalisation


def test_what_lies_where_one_looks_comes_first(slide):
    rows = plan(slide, CARD, PredictConfig(shard=512))
    planned = plan(slide, CARD, PredictConfig(shard=512, focus=(slide.shape[0], slide.shape[1])))
    assert planned.windows[0] == max(rows.windows)
    assert sorted(planned.windows) == sorted(rows.windows)
    assert [s.windows for s in sorted(planned.shards, key=lambda s: (s.row, s.col))] == [
        s.windows for s in rows.shards
    ]
    assert planned.without(set()).windows == planned.windows


@pytest.mark.parametrize("order", ["rows", "centre"])
def test_each_window_runs_once_and_every_shard_has_all_it_touches(slide, order):
    planned = plan(slide, CARD, PredictConfig(shard=64, order=order))
    assert len(set(planned.windows)) == len(planned.windows) == 2
    for shard in planned.shards:
        assert list(shard.windows) == planned.lattice.windows_touching(shard.region)


def test_the_centre_comes_first_where_asked(slide):
    first = plan(slide, CARD, PredictConfig(shard=64, order="centre")).shards[0]
    assert (first.row, first.col) in {(2, 1), (2, 2), (3, 1), (3, 2)}


def test_windows_on_empty_glass_do_not_run():
    rng = np.random.default_rng(0)
    image = rng.normal(100, 2, (600, 2000))
    image[:, :500] += rng.gamma(1.0, 800.0, (600, 500))
    pixels = image.clip(0, 65535).astype(np.uint16)
    slide = slide_from_arrays({"vessels": pixels, "nuclei": pixels}, pixel_size_um=1.0)
    planned = plan(slide, CARD)
    ran = {j for _, j in planned.windows}
    assert {0, 1, 2} <= ran
    assert planned.lattice.cols - 1 not in ran
    assert planned.background_windows > 0


def test_batches_are_larger_on_a_gpu():
    assert default_batch("cpu") < default_batch("cuda")


@pytest.mark.parametrize(
    ("wishes", "size"), [({}, 64), ({"samples": 2}, 256), ({"mode": "fast"}, 256)], ids=str
)
def test_on_a_card_a_first_pool_of_single_evaluations_is_soon_read(slide, wishes, size):
    config = PredictConfig(device="cuda", **wishes)
    model = random_model(DAMMConfig.of_preset("tiny", "ours"))
    assert survey(slide, model, config, remote=True)[1].sampling.batch_size == size
