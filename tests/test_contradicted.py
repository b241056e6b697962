"""What a file says of itself is not passed over in silence: its pixel size, and what it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tifffile
from evaluations import section_file
from models import random_model, tiny_config
from training_data import images, write_slide

from napari_damm import api
from napari_damm.dataset import FolderSource, SlideSource, open_sections
from napari_damm.events import Notice
from napari_damm.slide import open_slide
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import measure

NAMES = ("vessels", "nuclei", "particles")
CM = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}  # 0.5 um


def warnings_of(events) -> list[str]:
    return [e.message for e in events if isinstance(e, Notice) and e.level == "warning"]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config((32,) * 4, (32,) * 4))


def test_another_pixel_size_than_the_file_states_is_taken_and_told_of(tmp_path, model):
    path = section_file(tmp_path / "a.ome.tif")  # 1 um
    for given in (None, 1.0, 1.005):
        assert open_slide(path, pixel_size_um=given).doubt == ""
    slide = open_slide(path, pixel_size_um=0.65)
    assert slide.pixel_size_um == 0.65
    said = f"{path} states pixels of 1 um; 0.65 um are taken, as was given"
    assert slide.doubt == said
    config = api.PredictConfig(mode="draft", steps=1, batch_size=1)
    assert said in warnings_of(api.predict(slide, model, config))


def test_so_is_a_file_of_nuclei_that_states_another(tmp_path):
    vessels, nuclei = tmp_path / "v.tif", tmp_path / "n.tif"
    image = images((80, 90))["primary"]
    tifffile.imwrite(vessels, image)  # states none
    tifffile.imwrite(nuclei, image, **CM)
    assert open_slide(vessels, nuclei, pixel_size_um=0.5).doubt == ""
    said = f"{nuclei} states pixels of 0.5 um; 1 um are taken, as was given"
    assert open_slide(vessels, nuclei, pixel_size_um=1.0).doubt == said


def test_pixels_that_are_not_square_are_told_with_both_sides(tmp_path):
    channels = [images((80, 90))["primary"]] * 2
    path = tmp_path / "a.tif"
    tall = {**CM, "resolution": (2e4, 1e4)}
    tifffile.imwrite(path, channels, photometric="minisblack", **tall)
    slide = open_slide(path, vessels_channel=0, nuclei_channel=1, pixel_size_um=1.0)
    assert "states pixels of 1 x 0.5 (y, x) um; 1 um are taken" in slide.doubt


def test_a_training_tells_of_it_once_for_a_folder(tmp_path):
    for k in range(2):
        for name, image in zip(("CD31", "DAPI", "QD"), images((256, 320), k).values(), strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"{k}.tif", image, **CM)
    base = SimpleNamespace(model=SimpleNamespace(card={"modalities": NAMES, "pixel_size_um": 1.0}))

    def told(*sources):
        sections = [s for source in sources for s in open_sections(source)]
        return [w for w in warnings_of(measure(sections, base, TrainConfig())) if "states" in w]

    assert len(told(FolderSource(tmp_path, pixel_size_um=1.0))) == 1
    slides = [write_slide(tmp_path / f"{k}.ome.tif", (640, 576), k) for k in range(2)]
    assert len(told(*(SlideSource(path, pixel_size_um=0.9) for path in slides))) == 2


def test_a_predicted_map_is_no_picture_of_anything(tmp_path, model):
    path, out = section_file(tmp_path / "a.ome.tif"), tmp_path / "r.ome.zarr"
    config = api.PredictConfig(mode="draft", steps=1, batch_size=1)
    for _ in api.predict(open_slide(path), model, config, out):
        pass
    said = r"r\.ome\.zarr is a predicted map, no picture of a section: give the image that was"
    with pytest.raises(ValueError, match=said):
        list(open_sections(SlideSource(path, target=out)))  # it would judge, or learn, itself
    with pytest.raises(ValueError, match=said):
        open_slide(path, out)
    with pytest.raises(ValueError, match=said):
        open_slide(out)
