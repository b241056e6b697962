"""Trusted tissue: familiar images that agree; how wide intervals are does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from particle_maps import nuclei, report_of, straight_vessel, write_picture

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.page import page
from napari_damm.analysis.regions import TRUSTED
from napari_damm.engine.trusted import trust_map
from napari_damm.slide import open_slide
from napari_damm.store import ResultLayout, ResultStore, ShardMaps, open_result
from napari_damm.trust.cells import CellTrust

UNCERTAIN, UNUSUAL = slice(0, 5), slice(15, 22)
"""Columns of cells, of 22."""


def intervals(log_sd):
    return {"weights": [log_sd, 0.0, 0.0], "factor": 1.0, "count": 60, "unit": "sections",
            "truth": "noise-free field", "fitted_on": "60 sections"}  # fmt: skip


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    signal, vessels = straight_vessel()
    folder = tmp_path_factory.mktemp("picture")
    return write_picture(folder / "mouse1.ome.tif", [vessels, nuclei(), signal])


def stored(path, picture, familiar=True, **record):
    """Store the imaged map as if it were predicted: uncertain on the left, unusual on the right."""
    slide = open_slide(picture)
    signal, _ = straight_vessel()
    layout = ResultLayout(signal.shape, 1.0, slide.origin, with_familiarity=familiar)
    uncertainty = np.zeros(layout.cells_shape, np.float32)
    uncertainty[:, UNCERTAIN] = 0.9
    familiarity = np.full(layout.cells_shape, 0.6, np.float32)
    familiarity[:, UNUSUAL] = 0.01
    branch = np.full(layout.cells_shape, 2, np.uint8)
    record = {"input": slide.identity, "model": {"name": "tiny", "sha256": "0" * 64},
              "mode": "expected", "seed": 0, **record}  # fmt: skip
    maps = ShardMaps(signal, uncertainty, branch, None, familiarity if familiar else None)
    with ResultStore.create(path, layout, record) as store:
        store.write_shard(0, 0, maps)
        store.finish({"finished": "now"})
    return path


def share_of(path, **settings):
    report, _ = report_of(path, AnalyzeConfig(vessel_threshold=0.5, **settings))
    shares = {row.region: row.trusted_share for row in report.rows}
    assert shares[TRUSTED] in (1.0, None)
    return shares["tissue"]


@pytest.mark.parametrize("log_sd", [None, -4.0, -1.5])
def test_it_does_not_depend_on_how_wide_intervals_are(picture, tmp_path, log_sd):
    record = {} if log_sd is None else {"intervals": intervals(log_sd)}
    path = stored(tmp_path / "m.ome.zarr", picture, **record)
    assert share_of(path) == pytest.approx((480 - 160) / 700)


def test_what_a_prediction_calls_use_does_and_is_another_share(picture, tmp_path):
    path = stored(tmp_path / "m.ome.zarr", picture, intervals=intervals(-1.5))
    assert not (trust_map(open_result(path)) == CellTrust.USE).any()
    assert share_of(path) > 0.4
    report, _ = report_of(path)
    assert "not what a prediction calls &quot;use&quot;" in page(report, [])


def test_the_limit_of_uncertainty_can_be_chosen(picture, tmp_path):
    path = stored(tmp_path / "m.ome.zarr", picture)
    assert share_of(path, trusted_uncertainty=1.0) == pytest.approx(480 / 700)


def test_of_a_model_that_knows_no_images_it_is_where_the_two_agree(picture, tmp_path):
    path = stored(tmp_path / "m.ome.zarr", picture, familiar=False)
    assert share_of(path) == pytest.approx((700 - 160) / 700)
