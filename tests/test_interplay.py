"""Features that meet: areas and trust, images that cover a part, files that lie elsewhere."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import jobs
import numpy as np
import pytest
import tifffile
from image_files import IMAGE, ome, ome_zarr
from training_data import write_folder, write_slide

from napari_damm import api
from napari_damm.analysis.recorded_section import _nuclei_file
from napari_damm.analysis.sources import MapSource
from napari_damm.cli.data_options import DataOptions
from napari_damm.dataset import FolderSource, SlideSource, open_sections, survey
from napari_damm.engine import trusted
from napari_damm.engine.planning import plan
from napari_damm.engine.provenance import differences
from napari_damm.engine.reproduction import as_command, opening_of
from napari_damm.slide import open_slide, slide_from_arrays
from napari_damm.store import ResultLayout
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import find_base, measure, open_data
from napari_damm.trust import section
from napari_damm.util.areas import Areas
from napari_damm.util.errors import JobFault

CIRCLE = tuple((60 + 50 * np.sin(a), 60 + 50 * np.cos(a)) for a in np.linspace(0, 6.2, 60))
SQUARE = ((0.0, 0.0), (0.0, 60.0), (60.0, 60.0), (60.0, 0.0))


def changes(key, before, now):
    """Return in what two records differ that are alike but for one entry."""
    return [each for each in differences({key: before}, {key: now}) if each.startswith(key)]


# ---------------------------------------------------------------- what an image does not reach


def test_nuclei_that_cover_a_part_have_the_limits_of_what_they_show():
    rng = np.random.default_rng(0)
    vessels, nuclei = rng.integers(400, 4000, (2, 256, 256))
    images = {"vessels": vessels, "nuclei": nuclei}
    whole = plan(slide_from_arrays(images, 1.0), {}).normalisation.nuclei
    moved = slide_from_arrays(images, 1.0, {"vessels": (0.0, 0.0), "nuclei": (5.0, 0.0)})
    assert plan(moved, {}).normalisation.nuclei == pytest.approx(whole, rel=0.01)


def test_the_look_before_a_run_leaves_out_what_nuclei_do_not_reach():
    seen = []
    rng = np.random.default_rng(0)
    vessels, nuclei = rng.integers(400, 4000, (2, 600, 600))
    for origin in ((0.0, 0.0), (30.0, 0.0)):
        corners = {"vessels": (0.0, 0.0), "nuclei": origin}
        slide = slide_from_arrays({"vessels": vessels, "nuclei": nuclei}, 1.0, corners)
        window = section._read(slide, (0, 0), 1.0)
        seen.append(section._limits(section._shown(slide, (0, 0), 1.0, 1, window)))
    assert seen[1] == pytest.approx(seen[0], rel=0.02)


@pytest.mark.parametrize("vessels_placed", [True, False])
def test_a_file_that_states_no_place_lies_where_the_other_does(tmp_path, vessels_placed):
    then = [{"type": "translation", "translation": [0.0, 300.0, 40.0]}]
    placed = ome_zarr(tmp_path / "a.zarr", image=IMAGE, then=then)
    other = ome(tmp_path / "b.ome.tif")
    pair = (placed, other) if vessels_placed else (other, placed)
    slide = open_slide(pair[0], nuclei=pair[1], vessels_channel=0, nuclei_channel=1)
    assert slide.vessels.origin == slide.nuclei.origin != (0.0, 0.0)


def test_what_systems_leave_in_a_folder_is_no_part_of_the_image(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr")
    slide = open_slide(path)
    before = slide.identity
    (path / ".DS_Store").write_bytes(b"x")
    (path / "0" / "Thumbs.db").write_bytes(b"x")
    slide.check_unchanged(whole=True)
    assert changes("input", before, open_slide(path).identity) == []
    (path / "0" / "other").write_bytes(b"x")
    with pytest.raises(JobFault):
        slide.check_unchanged(whole=True)


def test_one_unusable_image_of_a_folder_spoils_no_other(tmp_path):
    rng = np.random.default_rng(0)
    for role in ("CD31", "DAPI", "QD"):
        (tmp_path / role).mkdir()
        for k in range(3):
            image = rng.normal(100, 20, (256, 256)).astype(np.float32)
            if (role, k) == ("QD", 1):
                image[3, 3] = np.nan
            tifffile.imwrite(tmp_path / role / f"s{k}.tif", image)
    sections = list(open_sections(FolderSource(tmp_path, pixel_size_um=1.0)))
    fields = survey(sections, 1.0)
    assert next(fields).section.name == sections[0].name
    with pytest.raises(ValueError, match="s1"):
        next(fields)


# ---------------------------------------------------------------- areas, and where a view looks


def test_the_width_of_a_cell_is_that_of_its_pixels_inside():
    areas = Areas(((CIRCLE,),))
    layout = ResultLayout((128, 128), 1.0, (0.0, 0.0))
    inside = areas.mask(layout_box(layout))
    width = da.from_array(np.where(inside, 0.6, 0.0))
    plain, within = (trusted._cell_means(width, layout, given) for given in (None, areas))
    some = areas.cells(layout_box(layout).cells())
    assert within[some] == pytest.approx(0.6)
    assert plain[some].min() < 0.3


def layout_box(layout):
    from napari_damm.util.tiling import Box

    return Box(0, 0, *layout.shape)


def test_the_share_of_windows_is_of_those_with_cells(folder):
    config = {"gamma": 0.0, "areas": Areas(((SQUARE,),))}
    *_, finished = jobs.run(folder, None, **config)
    record = finished.result.record
    assert (record["multi_modal_windows"], record["windows_with_cells"]) == (1, 1)


def test_a_verdict_does_not_depend_on_where_a_run_begins(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(trusted.Known, "of_card", lambda *_: trusted.Known)
    monkeypatch.setattr(trusted.Known, "fitted_on", "", raising=False)
    monkeypatch.setattr(trusted, "assess", lambda *given: seen.append(list(given[-1])))
    slide = open_slide(folder / "section.ome.tif")
    model = api.load_model(folder / "tiny.safetensors")
    for focus in (None, (400.0, 600.0)):
        planned = plan(slide, model.card, api.PredictConfig(focus=focus))
        trusted.trust_before(slide, model, planned)
    assert seen[0] == seen[1]


def test_areas_of_another_name_are_the_same_job():
    given = Areas(((SQUARE,),), "a").to_json()
    assert changes("areas", given, {**given, "name": "b"}) == []
    assert changes("areas", given, Areas(((CIRCLE,),), "a").to_json())


# ---------------------------------------------------------------- opened again


def test_a_stack_of_nuclei_alone_is_opened_at_its_plane(tmp_path):
    size = {"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}
    vessels, nuclei = tmp_path / "v.ome.tif", tmp_path / "n.ome.tif"
    rng = np.random.default_rng(0)
    image = rng.integers(0, 4000, (3, 260, 260)).astype(np.uint16)
    tifffile.imwrite(vessels, image[0], ome=True, metadata={"axes": "YX", **size})
    tifffile.imwrite(nuclei, image, ome=True, metadata={"axes": "ZYX", **size})
    slide = open_slide(vessels, nuclei=nuclei, z=1)
    record = {"input": slide.identity, "slide_pixel_size_um": 1.0}
    assert opening_of(record).open().identity == slide.identity


def test_nuclei_that_moved_with_the_picture_are_found_beside_it(tmp_path):
    size = {"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0}
    (tmp_path / "new").mkdir()
    for name in ("v", "n"):
        image = np.random.default_rng(0).integers(0, 4000, (260, 260)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", image, ome=True, metadata=size)
    slide = open_slide(tmp_path / "v.ome.tif", nuclei=tmp_path / "n.ome.tif")
    for name in ("v", "n"):
        (tmp_path / f"{name}.ome.tif").rename(tmp_path / "new" / f"{name}.ome.tif")
    vessels, nuclei = slide.identity["vessels"], slide.identity["nuclei"]
    source = MapSource("r.ome.zarr", section=tmp_path / "new" / "v.ome.tif")
    assert _nuclei_file(source, vessels, nuclei) == tmp_path / "new" / "n.ome.tif"
    assert _nuclei_file(MapSource("r.ome.zarr"), vessels, nuclei) == tmp_path / "n.ome.tif"


def test_a_cluster_has_the_device_that_this_machine_lacks(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "napari_damm.engine.workers.dask.predict", lambda *given: seen.append(given) or []
    )
    slide = open_slide(folder / "section.ome.tif")
    config = api.PredictConfig(device="cuda")
    assert list(api.predict(slide, folder / "tiny.safetensors", config, client=object())) == []
    (_, model, asked, *_), *_ = seen
    assert asked.device == "cuda"
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_of_areas_the_command_says_how_they_are_given():
    with pytest.raises(ValueError, match="give --areas FILE, or copy as Python"):
        as_command({"areas": {"name": "a"}}, None)


# ---------------------------------------------------------------- what trains and what validates


def measured(sources, **changes):
    config = TrainConfig(preset="tiny", first_stage_steps=1, **changes)
    base = find_base(None, config)
    return list(measure(open_data(sources), base, config))


def test_parts_of_one_section_that_overlap_are_refused(tmp_path):
    path = write_slide(tmp_path / "a.ome.tif", shape=(320, 1200))
    left, right = (SlideSource(path, roi=(0, x, 320, x + 590)) for x in (0, 600))
    measured([left, right])
    for other in (SlideSource(path), SlideSource(path, roi=(0, 300, 320, 900))):
        with pytest.raises(ValueError, match=r"two parts of .* overlap"):
            measured([left, other])
    with pytest.raises(ValueError, match=r"two parts of .* overlap"):
        measured([SlideSource(path, use="train"), SlideSource(path, use="validation")])


def test_two_stains_in_a_file_of_a_folder_are_refused(tmp_path):
    write_folder(tmp_path, 2)
    two = np.zeros((2, 256, 256), np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD31"]}}
    tifffile.imwrite(tmp_path / "CD31" / "patch_00.tif", two, ome=True, metadata=metadata)
    with pytest.raises(ValueError, match="has 2 channels"):
        list(open_sections(FolderSource(tmp_path, pixel_size_um=1.0)))


def test_with_several_devices_the_map_is_made_as_it_was(tmp_path):
    one, two = (find_base(None, TrainConfig(preset="tiny", devices=n)) for n in (1, 2))
    assert (one.model.config.expected_from, two.model.config.expected_from) == ("zero", "noise")


def test_a_plane_of_a_stack_can_be_trained_on_by_the_command():
    data = DataOptions([Path("a.ome.tif")], z=1, t=0, image="2")
    (source,) = data.sources(0)
    assert (source.z, source.t, source.image) == (1, 0, "2")
