"""Tissue to be trusted is what the prediction itself says is to be used, place by place."""

from __future__ import annotations

import numpy as np
import pytest
from particle_maps import nuclei, report_of, straight_vessel, write_picture

from napari_damm.analysis.config import AnalyzeConfig
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


@pytest.mark.parametrize(
    ("log_sd", "columns"),
    [
        (None, (160, 480)),  # nobody knows how wide intervals are: uncertain cells are in doubt
        (-4.0, (0, 480)),  # narrow intervals: they are to be used
        (-1.5, (0, 0)),  # wide ones everywhere
    ],
)
def test_it_is_what_predict_says_is_to_be_used(picture, tmp_path, log_sd, columns):
    record = {} if log_sd is None else {"intervals": intervals(log_sd)}
    path = stored(tmp_path / "m.ome.zarr", picture, **record)
    assert share_of(path) == pytest.approx((columns[1] - columns[0]) / 700)
    worth = np.repeat(trust_map(open_result(path))[0] == CellTrust.USE, 32)[:700]
    assert worth.mean() == pytest.approx(share_of(path))


def test_a_limit_of_uncertainty_leaves_out_more_and_never_less(picture, tmp_path):
    path = stored(tmp_path / "m.ome.zarr", picture, intervals=intervals(-4.0))
    assert share_of(path, trusted_uncertainty=0.5) == pytest.approx((480 - 160) / 700)
    assert share_of(path, trusted_uncertainty=1.0) == pytest.approx(480 / 700)


def test_of_a_model_that_knows_no_images_it_is_where_the_two_agree(picture, tmp_path):
    path = stored(tmp_path / "m.ome.zarr", picture, familiar=False, intervals=intervals(-4.0))
    assert share_of(path) == pytest.approx((700 - 160) / 700)
