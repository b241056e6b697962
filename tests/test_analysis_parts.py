"""Results of a part of a section, of finer models, and of one of several images in a file."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from particle_maps import nuclei, report_of, straight_vessel, write_picture

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.intervals import PART
from napari_damm.analysis.opening import open_source
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.regions import Band
from napari_damm.analysis.sources import MapSource
from napari_damm.slide import open_slide
from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.util.areas import Areas
from napari_damm.util.tiling import Box

HALF = AnalyzeConfig(vessel_threshold=0.5)
INTERVALS = {
    "weights": [0.1, 0.0, 0.0], "factor": 1.0, "count": 60, "unit": "sections",
    "truth": "noise-free field", "fitted_on": "60 sections",
    "measures": {"l50": {"kind": "ratio", "low": 0.8, "high": 1.3, "count": 60}},
}  # fmt: skip
CIRCLE = tuple((300.0 + 180 * np.sin(a), 350.0 + 180 * np.cos(a)) for a in np.linspace(0, 6.2, 40))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    signal, vessels = straight_vessel(rows=(295, 306))
    folder = tmp_path_factory.mktemp("picture")
    return write_picture(folder / "mouse1.ome.tif", [vessels, nuclei(), signal])


def stored(path, picture, um=1.0, areas=None, **more):
    """Store the imaged map as if it were predicted, in areas alone if there are such."""
    slide = open_slide(picture)
    signal, _ = straight_vessel(rows=(295, 306))
    factor = round(1 / um)
    fine = signal.repeat(factor, axis=0).repeat(factor, axis=1)
    whole = Box(0, 0, *fine.shape)
    region, scaled = whole, None
    if areas is not None:
        scaled = areas.scaled(factor)
        y0, x0, y1, x1 = scaled.bounds
        region = Box(int(y0), int(x0), int(np.ceil(y1)), int(np.ceil(x1))).intersect(whole)
    layout = ResultLayout.for_region(region, um, slide.origin)
    branch = np.full(layout.cells_shape, 2, np.uint8)
    kept = fine[region.slices].copy()
    if scaled is not None:
        kept[~scaled.mask(region)] = 0
        branch[~scaled.cells(region.cells())] = 0
    record = {
        "input": slide.identity, "model": {"name": "tiny", "sha256": "0" * 64},
        "mode": "expected", "seed": 0, "pixel_size_um": um, "slide_pixel_size_um": 1.0,
        "areas": None if areas is None else areas.to_json(), **more,
    }  # fmt: skip
    with ResultStore.create(path, layout, record) as store:
        store.write_shard(0, 0, ShardMaps(kept, np.zeros(branch.shape, np.float32), branch, None))
        store.finish({"finished": "now"})
    return path


def test_of_areas_only_what_lies_in_them_is_measured(picture, tmp_path):
    areas = Areas(((CIRCLE,),))
    report, _ = report_of(stored(tmp_path / "a.ome.zarr", picture, areas=areas), HALF)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)
    section = open_source(MapSource(report.sections[0].about["file"]), HALF).section
    assert section.tissue_in(section.whole).sum() == pytest.approx(np.pi * 180**2, rel=0.01)


def test_the_border_of_areas_is_no_edge_of_the_tissue(picture, tmp_path):
    areas = Areas(((CIRCLE,),))
    report, _ = report_of(stored(tmp_path / "a.ome.zarr", picture, areas=areas), HALF)
    row = next(row for row in report.rows if row.measure == "rim_core")
    assert row.value is None
    assert "shows no edge" in row.reason


@pytest.mark.parametrize("part", [{"roi": [0, 0, 600, 700]}, {"areas": Areas(((CIRCLE,),))}])
def test_a_part_has_no_interval_of_whole_sections(picture, tmp_path, part):
    whole, _ = report_of(stored(tmp_path / "w.ome.zarr", picture, intervals=INTERVALS), HALF)
    row = next(row for row in whole.rows if row.measure == "l50")
    assert row.low < row.value < row.high
    path = stored(tmp_path / "a.ome.zarr", picture, intervals=INTERVALS, **part)
    report, _ = report_of(path, HALF)
    assert {(row.low, row.high) for row in report.rows} == {(None, None)}
    assert PART in report.notes


def test_a_map_of_finer_pixels_gives_the_same_numbers(picture, tmp_path):
    coarse, _ = report_of(stored(tmp_path / "c.ome.zarr", picture), HALF)
    for areas in (None, Areas(((CIRCLE,),))):
        path = stored(tmp_path / f"{areas is None}.ome.zarr", picture, um=0.25, areas=areas)
        report, _ = report_of(path, HALF)
        assert report.sections[0].pixel_um == (0.5, 0.5)
        assert report.value("l50") == pytest.approx(coarse.value("l50"), rel=0.02)


def test_a_band_reaches_from_the_edge_of_the_outermost_cells():
    tissue = np.zeros((10, 12), bool)
    tissue[2:8, 2:10] = True
    images = {"particles": lambda box: np.ones(box.shape, np.float32)}
    section = ParticleMap("cells", (320, 384), (1.0, 1.0), images, tissue, cell_px=32)
    outer = Band(0.0, 20.0).mask(section, section.whole)  # middles lie 16 um deep
    assert outer.sum() == (6 * 8 - 4 * 6) * 32**2


def test_a_result_remembers_which_image_of_a_file_it_is_of(tmp_path):
    signal, vessels = straight_vessel(rows=(295, 306))
    planes = np.stack([vessels, nuclei(), signal])
    path = tmp_path / "two.ome.tif"
    metadata = {
        "axes": "CYX", "Channel": {"Name": ["cd31", "dapi", "nanoparticles"]},
        "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0,
    }  # fmt: skip
    with tifffile.TiffWriter(path, ome=True) as file:
        for image in (np.tile(planes, (1, 3, 3)), planes):
            file.write(image, metadata=metadata, photometric="minisblack")
    slide = open_slide(path, image=1)
    layout = ResultLayout(signal.shape, 1.0, slide.origin)
    record = {"input": slide.identity, "model": {"name": "tiny", "sha256": "0" * 64},
              "mode": "expected", "seed": 0}  # fmt: skip
    branch = np.full(layout.cells_shape, 2, np.uint8)
    store_path = tmp_path / "r.ome.zarr"
    with ResultStore.create(store_path, layout, record) as store:
        store.write_shard(0, 0, ShardMaps(signal, branch * np.float32(0), branch, None))
        store.finish({"finished": "now"})
    report, _ = report_of(store_path, HALF)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)
    # and a picture's is said
    report, _ = report_of(MapSource(path, image=1), HALF)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)


def test_a_result_of_layers_is_measured_with_the_channels_that_the_picture_has(picture, tmp_path):
    path = stored(tmp_path / "a.ome.zarr", picture, input={"kind": "arrays", "vessels": {
        "channel": "vessels", "pixel_size_um": 1.0}, "nuclei": {"channel": "nuclei"}})  # fmt: skip
    report, _ = report_of(MapSource(path, section=picture), HALF)
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.01)


def test_depth_in_oblong_cells_is_measured_along_the_way():
    tissue = np.zeros((20, 20), bool)
    tissue[4:16, 4:16] = True
    reading = {"particles": lambda box: np.zeros(box.shape)}
    section = ParticleMap("m", (20, 20), (0.5, 1.3), reading, tissue, cell_px=1)
    assert section.depth_um[10, 4] == pytest.approx(0.65)  # half a pixel across
    assert section.depth_um[4, 10] == pytest.approx(0.25)  # half a pixel up
