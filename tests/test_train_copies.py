"""What would be trained on where its copy validates; and a target that is another on resuming."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
import tifffile
from training_data import images, write_folder, write_slide
from trainings import base_model, config

from napari_damm.dataset import FolderSource, SectionSource, SlideSource
from napari_damm.events import TrainStep
from napari_damm.train import fine_tune
from napari_damm.train.setup import open_data

STAINS = ("CD31", "DAPI", "QD")


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "patches", 3)


def source(folder, **more):
    return FolderSource(folder, pixel_size_um=1.0, **more)


def copy(folder, name, to, into=None):
    for stain in STAINS:
        place = (into or folder) / stain
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / stain / name, place / to)


def test_a_copy_in_a_folder_is_named_whatever_it_is_called(folder):
    assert len(open_data(source(folder))) == 3
    copy(folder, "patch_01.tif", "other.tif")
    said = (
        rf"patch_01.tif in {folder} is the same as other.tif in {folder}: give every section once"
    )
    with pytest.raises(ValueError, match=said):
        open_data(source(folder))


def test_so_is_one_in_a_folder_that_validates(folder, tmp_path):
    copy(folder, "patch_02.tif", "v.tif", tmp_path / "kept")
    both = [source(folder, use="train"), source(tmp_path / "kept", use="validation")]
    with pytest.raises(ValueError, match=r"v.tif in .* is the same as patch_02.tif"):
        open_data(both)
    with pytest.raises(ValueError, match=r"patch_00.tif in .* is the same as patch_00.tif"):
        open_data([source(folder, use="train"), source(folder, use="validation")])


def test_and_a_section_of_files_that_lie_in_a_folder(folder):
    primary, secondary, target = (folder / stain / "patch_01.tif" for stain in STAINS)
    slide = SlideSource(primary, secondary=secondary, target=target, pixel_size_um=1.0)
    for given in ([source(folder), slide], [slide, source(folder)]):
        with pytest.raises(ValueError, match=r"patch_01.tif.* is the same as patch_01.tif"):
            open_data(given)


def test_blank_patches_are_no_copies_nor_is_one_that_shares_an_image(folder):
    for name in ("blank.tif", "blank2.tif"):
        for stain in STAINS:
            tifffile.imwrite(folder / stain / name, np.zeros((256, 256), np.uint16))
    copy(folder, "patch_01.tif", "same_vessels.tif")
    shutil.copyfile(folder / "DAPI" / "patch_02.tif", folder / "DAPI" / "same_vessels.tif")
    assert len(open_data(source(folder))) == 6


def test_layers_and_simulated_sections_are_told_apart_as_before():
    sections = [SectionSource(images(seed=k), 1.0, name=f"{k}") for k in (0, 1)]
    assert len(open_data(sections)) == 2
    with pytest.raises(ValueError, match="0 is the same as 0"):
        open_data([sections[0], sections[0]])


@pytest.mark.usefixtures("quick_training")
def test_a_training_is_not_resumed_on_another_target_of_the_same_intensities(tmp_path):
    paths = []
    for name, image in images().items():
        paths.append(tmp_path / f"{name}.tif")
        tifffile.imwrite(paths[-1], image)
    slide = SlideSource(paths[0], secondary=paths[1], target=paths[2], pixel_size_um=1.0)
    out, model = tmp_path / "run", base_model()
    with closing(fine_tune(slide, model, config(), out)) as events:
        next(event for event in events if isinstance(event, TrainStep))
    turned = np.ascontiguousarray(tifffile.imread(paths[2])[::-1, ::-1])
    before = paths[2].read_bytes()
    tifffile.imwrite(paths[2], turned)
    with pytest.raises(ValueError, match="the images of the target differ from those"):
        list(fine_tune(slide, model, config(), out, resume=True))
    state = json.loads((out / "run.json").read_text())
    state.pop("targets_sha256")  # of a version that did not know
    (out / "run.json").write_text(json.dumps(state))
    paths[2].write_bytes(before)
    with closing(fine_tune(slide, model, config(), out, resume=True)) as events:
        assert next(event for event in events if isinstance(event, TrainStep)).step > 1


def saved_anew(path, to):
    """The same pixels in other bytes: compressed, and of a wider type."""
    with tifffile.TiffFile(path) as file:
        pixels = file.asarray().astype(np.uint32)
    names = {"Name": list(STAINS)}
    tifffile.imwrite(
        to, pixels, compression="zlib", metadata={"axes": "CYX", "Channel": names}, ome=True
    )
    return to


def test_a_section_saved_anew_in_another_file_is_a_copy(tmp_path):
    first = write_slide(tmp_path / "a.ome.tif")
    again = saved_anew(first, tmp_path / "b.ome.tif")
    other = write_slide(tmp_path / "c.ome.tif", seed=1)
    named = {"pixel_size_um": 1.0}
    assert len(open_data([SlideSource(first, **named), SlideSource(other, **named)])) == 2
    with pytest.raises(ValueError, match=r"b.ome.tif is the same as a.ome.tif"):
        open_data([SlideSource(first, **named), SlideSource(again, **named)])
    parts = (first, (0, 0, 320, 400)), (again, (0, 200, 320, 576))
    overlapping = [SlideSource(path, **named, roi=roi) for path, roi in parts]
    with pytest.raises(ValueError, match=r"two parts of b.ome.tif overlap"):
        list(fine_tune(overlapping, base_model(), config(), tmp_path / "run"))
