"""The Python of README and docs runs as it stands there, on small files and with a tiny model.

What lies outside is stood in for: a cluster is this process, a training the events of one.
"""

from __future__ import annotations

import json
import shutil
import sys
import types
from contextlib import nullcontext

import jobs
import numpy as np
import pytest
import tifffile
from docs_blocks import DOCS, ROOT, all_blocks, blocks
from trainings import base_model

import napari_damm
from napari_damm import api, cli
from napari_damm.engine import config as engine_config
from napari_damm.events import Finished, TrainStep, Validated
from napari_damm.model_file import library, save_model
from napari_damm.train.run_folder import TrainedModel

SIZE = 200
SMALLER = {
    "samples=8": "samples=2",
    "sections=2, size=256": "sections=1, size=200",
    'out="report"': "out=None",  # drawing it takes longer than all the rest
}
PYTHON = [pytest.param(block, id=str(block)) for block in all_blocks("python")]
RING = [[20, 30], [80, 30], [80, 90], [20, 90], [20, 30]]
HOLE = [[40, 50], [60, 50], [60, 70], [40, 70], [40, 50]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the files that pages speak of, and a tiny model in the bundled one's place."""
    folder = tmp_path_factory.mktemp("desk")
    patch = pytest.MonkeyPatch()
    jobs.quick_first_stages(patch.setattr)
    bundled = tmp_path_factory.mktemp("bundled")
    save_model(base_model(), bundled / "small.safetensors")
    patch.setattr(library, "bundled_folder", lambda: bundled)
    for mode in ("fast", "draft"):
        patch.setitem(engine_config.STEPS, mode, 2)
    section = str(folder / "section.ome.tif")
    assert cli.main(["simulate", section, "--size", str(SIZE), "--seed", "10000"]) == 0
    out = str(folder / "result.ome.zarr")
    assert cli.main(["predict", section, "--out", out]) == 0
    (folder / "patches").mkdir()
    (folder / "sections").mkdir()
    shutil.copy(section, folder / "sections" / "a.ome.tif")
    outline = {"type": "Polygon", "coordinates": [RING, HOLE]}
    features = [{"type": "Feature", "geometry": outline, "properties": {}}]
    found = {"type": "FeatureCollection", "features": features}
    (folder / "annotations.geojson").write_text(json.dumps(found))
    yield folder
    patch.undo()


@pytest.fixture
def at_the_desk(desk, monkeypatch):
    """Work in that folder, without a cluster and with little time."""
    monkeypatch.chdir(desk)
    monkeypatch.setattr(api, "fine_tune", lambda *_, **__: iter(a_training(desk)))
    distributed = pytest.importorskip("dask.distributed")
    monkeypatch.setattr(distributed, "Client", lambda *_: nullcontext())
    jobqueue = types.ModuleType("dask_jobqueue")
    jobqueue.SLURMCluster = lambda **_: types.SimpleNamespace(adapt=lambda **_: None)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", jobqueue)
    return desk


def a_training(folder):
    """Events that a training ends with."""
    scores = {"ssim": 0.5, "r": 0.7}
    model = TrainedModel(folder / "mine.safetensors", "mine", {}, scores, scores, folder)
    yield TrainStep(1, 0, "joint", 0.5, 0.1)
    yield Validated(1, 1.0, scores, scores, best=True)
    yield Finished(model, 1.0)


@pytest.mark.parametrize("block", PYTHON)
def test_code_runs(block, at_the_desk):
    code = block.code
    if "write_crate" in code:
        pytest.importorskip("rocrate")
    for number, place in enumerate(("/data/", "/scratch/")):
        code = code.replace(f'"{place}result', f'"{block.line}-{number}').replace(place, "")
    for large, small in SMALLER.items():
        code = code.replace(large, small)
    slide = napari_damm.open_slide("section.ome.tif")
    exec(compile(code, str(block), "exec"), {"napari_damm": napari_damm, "slide": slide})


def test_a_map_for_qupath_has_its_pixel_size_and_values(at_the_desk):
    exec(blocks(DOCS / "qupath.md", "python")[0].code, {})
    slide = napari_damm.open_slide("map.ome.tif", "section.ome.tif", 0, "nuclei")
    result = napari_damm.open_result("result.ome.zarr")
    assert slide.vessels.pixel_size_um == pytest.approx(1.0)
    assert np.array_equal(tifffile.imread("map.ome.tif").squeeze(), np.asarray(result.np))


def test_readme_and_quickstart_begin_with_the_same_section():
    first = {
        str(path): path.read_text("utf-8") for path in (ROOT / "README.md", DOCS / "quickstart.md")
    }
    for text in first.values():
        assert "napari-damm simulate section.ome.tif --size 1024 --seed 10000" in text
