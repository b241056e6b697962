"""What scripts give by mistake: refused by a sentence, before it becomes something else."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from models import random_model, tiny_config
from training_data import write_folder, write_slide

from napari_damm import api
from napari_damm.slide import open_slide, slide_from_arrays
from napari_damm.train.setup import open_data

IMAGE = np.arange(80 * 90, dtype=np.uint16).reshape(80, 90)


def arrays(vessels, um=1.0):
    return slide_from_arrays({"vessels": vessels, "nuclei": IMAGE}, um)


MISTAKES = {
    "list": (IMAGE.tolist(), 1.0, "channel 'vessels' must be an image .* got \\[0, 1, 2"),
    "none": (None, 1.0, "channel 'vessels' must be an image .* got None"),
    "masked": (np.ma.masked_less(IMAGE, 9), 1.0, "masked array: give numbers with filled"),
    "masked dask": (
        da.ma.masked_less(da.from_array(IMAGE), 9), 1.0, "masked array: give numbers with filled"
    ),
    "size unknown": (
        da.from_array(IMAGE)[da.from_array(IMAGE[:, 0] > 90)], 1.0, "call its compute_chunk_sizes"
    ),
    "size in words": (IMAGE, "0.5", "pixel size of channel 'vessels' must be in .* got '0.5'"),
    "no size": (IMAGE, None, "pixel size of channel 'vessels' must be in .* got None"),
    "one size": (IMAGE, {"nuclei": 1.0}, "pixel_size_um has no entry for channel 'vessels'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_arrays(kind):
    image, um, words = MISTAKES[kind]
    with pytest.raises(ValueError, match=words):
        arrays(image, um)


def test_arrays_that_may_look_odd_are_taken_as_they_are():
    whole = arrays(np.ma.masked_less(IMAGE, 0))  # nothing is masked
    assert type(whole.vessels.planes[0]) is np.ndarray
    assert arrays(IMAGE, np.array([0.5, 0.5])).pixel_size_um == 0.5
    assert arrays(IMAGE, np.float32(0.5)).pixel_size_um == 0.5


@pytest.mark.parametrize("number", [1.5, 1.0, [1]])
def test_half_a_channel_is_none(tmp_path, number):
    path = write_slide(tmp_path / "a.ome.tif")
    with pytest.raises(ValueError, match=r"channel of .* must be a name or a whole number, got"):
        open_slide(path, vessels_channel=number)
    with pytest.raises(ValueError, match=r"image of .* must be a name or a whole number, got"):
        open_slide(path, image=number)
    assert open_slide(path, vessels_channel=np.int64(2)).vessels.name == "QD"


def test_a_path_is_no_slide():
    model = random_model(tiny_config((32,) * 4, (32,) * 4))
    said = r"got 'a\.tif': open it with open_slide"
    with pytest.raises(ValueError, match=said):
        next(iter(api.predict("a.tif", model)))
    with pytest.raises(ValueError, match=said):
        api.plan("a.tif", model)


def test_a_path_is_no_source_and_is_named_whole():
    for given in ("a.ome.tif", ["a.ome.tif"]):
        with pytest.raises(
            ValueError, match=r"sections come from a FolderSource.* got 'a.ome.tif'"
        ):
            open_data(given)


def test_one_folder_may_be_given_alone(tmp_path):
    folder = write_folder(tmp_path / "all", 2) / "CD31"
    alone, listed = (api.find_sections(given, tmp_path) for given in (str(folder), [folder]))
    assert [each.image for each in alone] == [each.image for each in listed]
    assert len(alone) == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("normalisation", (0, 1), r"normalisation must be Normalisation\(...\), got \(0, 1\)"),
        ("areas", "a.geojson", r"areas must be Areas\(...\), got 'a.geojson'"),
        ("focus", (1.0,), r"focus must be two numbers y x, got \(1.0,\)"),
        ("batch_size", 4000, "batch_size must be in 1..1024, got 4000"),
    ],
)
def test_settings(name, value, words):
    with pytest.raises(ValueError, match=words):
        api.PredictConfig(**{name: value})


def test_numbers_that_no_model_can_hold_are_named_before_the_run():
    image = IMAGE.astype(np.float64)
    image[3, 5] = np.finfo(np.float64).min
    model = random_model(tiny_config((32,) * 4, (32,) * 4))
    with pytest.raises(ValueError, match=r"beyond 3.4e\+38, the first -1.8e\+308 at y 3, x 5"):
        next(iter(api.predict(arrays(image), model)))
    image[3, 5] = -1e38
    api.plan(arrays(image), model)
