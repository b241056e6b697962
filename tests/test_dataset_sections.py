"""Sources become sections: what is read, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from training_data import images, layers, write_folder, write_slide

from napari_damm.dataset import (
    FolderSource,
    SectionSource,
    SimulatedSource,
    SlideSource,
    open_sections,
    survey,
)
from napari_damm.dataset.sources import source_from_dict, source_to_dict
from napari_damm.util.tiling import Box


def opened(source):
    return list(open_sections(source))


def pixels(section, role):
    return np.asarray(section.raster(role).planes[0][slice(None), slice(None)])


def refusal(source):
    with pytest.raises((ValueError, OSError)) as caught:
        list(survey(opened(source), 1.0))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_slide_s_channels_are_found_by_their_usual_names(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif")
    (section,) = opened(SlideSource(path))
    for role, image in images().items():
        np.testing.assert_array_equal(pixels(section, role), image)
    assert section.slide.pixel_size_um == 1.0


def test_a_slide_s_channels_are_taken_as_named(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif")
    (section,) = opened(SlideSource(path, "QD", 1, "CD31"))
    np.testing.assert_array_equal(pixels(section, "target"), images()["primary"])


def test_the_target_may_be_a_file_of_its_own(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif")
    target = images(seed=5)["target"]
    tifffile.imwrite(tmp_path / "np.tif", target)
    (section,) = opened(SlideSource(path, target=tmp_path / "np.tif"))
    np.testing.assert_array_equal(pixels(section, "target"), target)
    assert section.target.pixel_size_um == 1.0


def test_a_folder_s_names_are_sections_in_order(tmp_path):
    write_folder(tmp_path, 3)
    sections = opened(FolderSource(tmp_path, pixel_size_um=0.5))
    assert [section.name for section in sections] == [f"patch_{k:02d}.tif" for k in range(3)]
    np.testing.assert_array_equal(pixels(sections[1], "target"), images((256, 256), 1)["target"])
    assert sections[0].slide.pixel_size_um == 0.5


def test_sub_folders_may_have_other_names(tmp_path):
    write_folder(tmp_path, 2, names=("T1", "T2", "FLAIR"))
    source = FolderSource(tmp_path, "T1", "T2", "FLAIR", pixel_size_um=1.0)
    assert len(opened(source)) == 2


def test_a_stain_saved_in_colour_is_read_as_the_mean_of_its_colours(tmp_path):
    write_folder(tmp_path, 1)
    green = np.zeros((256, 256, 3), np.uint8)
    green[..., 1] = (images((256, 256), 0)["primary"] // 20).astype(np.uint8)
    for name in ("CD31", "DAPI", "QD"):
        (tmp_path / name / "patch_00.tif").unlink()
        (tmp_path / name / "a.png").write_bytes(imagecodecs.png_encode(green))
    (section,) = opened(FolderSource(tmp_path, pixel_size_um=1.0))
    np.testing.assert_allclose(pixels(section, "primary"), green[..., 1] / np.float32(3), rtol=1e-6)


def test_simulated_sections_are_those_of_their_seeds():
    from napari_damm.simulate import simulate_slide

    sections = opened(SimulatedSource(2, 128, "external", first_seed=7))
    drawn = simulate_slide(128, 8, "external")
    np.testing.assert_array_equal(pixels(sections[1], "target"), drawn.nanoparticles)
    assert sections[1].identity["kind"] == "simulated"


def test_patches_of_a_folder_share_intensity_limits_and_sections_do_not(tmp_path):
    write_folder(tmp_path, 3)
    auto = list(survey(opened(FolderSource(tmp_path, pixel_size_um=1.0)), 1.0))
    assert auto[0].limits == auto[2].limits
    own = FolderSource(tmp_path, pixel_size_um=1.0, intensities="image")
    apart = list(survey(opened(own), 1.0))
    assert apart[0].limits != apart[2].limits
    # at 0.25 um per model pixel the images are 1024 px: sections, no patches
    fine = list(survey(opened(FolderSource(tmp_path, pixel_size_um=1.0)), 0.25))
    assert fine[0].limits != fine[2].limits


def test_a_field_reads_what_a_prediction_would_read():
    from napari_damm.engine.planning import plan
    from napari_damm.slide import normalise, read_region

    (section,) = opened(layers())
    (field,) = survey([section], 2.0)
    planned = plan(section.slide, {"pixel_size_um": 2.0})
    assert field.normalisation == planned.normalisation
    box = Box(-8, 3, 100, 90)
    region = read_region(section.slide.vessels, box, 2.0, section.slide.origin, field.shape)
    expected = normalise(region, *planned.normalisation.vessels)
    np.testing.assert_array_equal(field.read("primary", box), expected)


def test_sources_survive_a_settings_file(tmp_path):
    sources = [
        SlideSource(tmp_path / "a.tif", "CD31", 1, roi=(0, 0, 10, 20), use="train"),
        FolderSource(tmp_path, pixel_size_um=0.5),
        SimulatedSource(3, 256, "external", 5),
    ]
    assert [source_from_dict(source_to_dict(source)) for source in sources] == sources
    assert source_to_dict(layers()) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "video"}, "video"),
        ({"kind": "folder", "path": "x", "pixels": 3}, "pixels"),
        ({"kind": "slide"}, "path"),
        ({"kind": "simulated", "sections": 0}, "0"),
        ({"kind": "folder", "path": "x", "use": "both"}, "both"),
    ],
)
def test_a_bad_source_is_refused_by_value(values, words):
    with pytest.raises(ValueError, match=words):
        source_from_dict(values)


# ---------------------------------------------------------------- bad input


def test_a_folder_that_lacks_a_modality(tmp_path):
    write_folder(tmp_path, 1, names=("CD31", "DAPI", "other"))
    message = refusal(FolderSource(tmp_path, pixel_size_um=1.0))
    assert "'QD'" in message
    assert "other" in message


def test_a_folder_of_images_with_all_stains_is_told_to_be_given_image_by_image(tmp_path):
    (tmp_path / "02.jpg").touch()
    (tmp_path / "01.jpg").touch()
    message = refusal(FolderSource(tmp_path, pixel_size_um=1.0))
    assert "has no sub-folder 'CD31'" in message
    assert message.endswith(f"give the images themselves, such as {tmp_path / '01.jpg'}")


def test_a_name_that_is_missing_in_one_sub_folder(tmp_path):
    write_folder(tmp_path, 3)
    (tmp_path / "DAPI" / "patch_01.tif").unlink()
    message = refusal(FolderSource(tmp_path, pixel_size_um=1.0))
    assert "patch_01.tif" in message
    assert "DAPI" in message


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "Thumbs.db", "desktop.ini", "@eaDir", "Icon\r", "._patch_00.tif", "#recycle"],
)
@pytest.mark.parametrize("everywhere", [True, False], ids=["in all three", "in one"])
def test_what_systems_leave_in_folders_is_no_image(tmp_path, name, everywhere):
    write_folder(tmp_path, 2)
    for stain in ("CD31", "DAPI", "QD") if everywhere else ("DAPI",):
        if name.startswith(("@", "#")):
            (tmp_path / stain / name).mkdir()
        else:
            (tmp_path / stain / name).write_bytes(b"x")
    found = [s.name for s in open_sections(FolderSource(tmp_path, pixel_size_um=1.0))]
    assert found == ["patch_00.tif", "patch_01.tif"]


def test_a_folder_of_text_files(tmp_path):
    for name in ("CD31", "DAPI", "QD"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("no image at all")
    assert "a.txt is not an image" in refusal(FolderSource(tmp_path, pixel_size_um=1.0))


def test_empty_sub_folders(tmp_path):
    for name in ("CD31", "DAPI", "QD"):
        (tmp_path / name).mkdir()
    assert "holds no images" in refusal(FolderSource(tmp_path, pixel_size_um=1.0))


def test_a_folder_that_is_not_there(tmp_path):
    assert "nowhere" in refusal(FolderSource(tmp_path / "nowhere"))


def test_images_of_two_sizes(tmp_path):
    write_folder(tmp_path, 2)
    tifffile.imwrite(tmp_path / "QD" / "patch_01.tif", np.ones((200, 256), np.uint16))
    message = refusal(FolderSource(tmp_path, pixel_size_um=1.0))
    assert "200 x 256" in message


def test_images_without_a_pixel_size(tmp_path):
    write_folder(tmp_path, 1)
    assert "pixel size" in refusal(FolderSource(tmp_path))


def test_layers_that_do_not_overlap():
    source = SectionSource(images(), 1.0, {"primary": (0, 0), "secondary": (0, 0),
                                           "target": (5000.0, 0.0)})  # fmt: skip
    assert "does not overlap" in refusal(source)


def test_layers_without_a_target():
    with pytest.raises(ValueError, match="no target image"):
        SectionSource({"primary": 0, "secondary": 0}, 1.0)


@pytest.mark.parametrize("role", ["primary", "secondary", "target"])
def test_nan_is_found_before_training(role):
    bad = {name: image.astype(np.float32) for name, image in images().items()}
    bad[role][7, 9] = np.nan
    message = refusal(SectionSource(bad, 1.0))
    assert "NaN" in message
    assert "y 7, x 9" in message


def test_a_blank_target():
    blank = images() | {"target": np.full((320, 576), 7, np.uint16)}
    assert "blank" in refusal(SectionSource(blank, 1.0))


def test_the_target_may_not_be_an_input(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif")
    assert "same channel" in refusal(SlideSource(path, target_channel="DAPI"))


def test_seeds_for_evaluation_are_not_for_training():
    assert "reserved" in refusal(SimulatedSource(2, 64, first_seed=9999))
    with pytest.raises(ValueError, match="below 10000"):
        list(open_sections(SimulatedSource(1, 64), evaluation=True))


def test_thousands_of_pictures_are_not_kept_in_memory(tmp_path: Path, monkeypatch):
    from napari_damm.slide import pictures
    from napari_damm.slide.planes import BlockCache

    cache = BlockCache(3 * 64 * 64)
    monkeypatch.setattr(pictures, "_DECODED", cache)
    for name in ("CD31", "DAPI", "QD"):
        (tmp_path / name).mkdir()
        for k in range(6):
            grey = np.full((64, 64), 10 * k, np.uint8)
            (tmp_path / name / f"{k}.png").write_bytes(imagecodecs.png_encode(grey))
    sections = opened(FolderSource(tmp_path, pixel_size_um=1.0))
    assert cache._bytes <= 3 * 64 * 64
    assert pixels(sections[4], "target").max() == 40
