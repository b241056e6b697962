"""Jobs in bfloat16: the same however they run, and only continued as such.

Their autoencoders are left out: the U-Net's decoders are what is rounded.
"""

from __future__ import annotations

import jobs
import numpy as np
import pytest

from napari_damm import api
from napari_damm.engine.provenance import differences
from napari_damm.engine.reproduction import Opening, as_command, as_python
from napari_damm.events import ShardDone

pytestmark = pytest.mark.usefixtures("quick_first_stages")

BF16 = {"precision": "bf16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A job whose model has an expected map."""
    return jobs.make_with_expected_map(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def whole(folder):
    return jobs.run(folder, None, **BF16)


def test_it_is_another_map_than_in_full_precision(folder, whole):
    full = jobs.run(folder, None)[-1].result
    assert not np.array_equal(np.asarray(full.np), np.asarray(whole[-1].result.np))


@pytest.mark.parametrize("wishes", [{}, {"lanes": 3}, {"shard": 3072}], ids=str)
def test_it_is_the_same_however_it_runs(folder, whole, wishes):
    assert jobs.digest(jobs.run(folder, None, **BF16 | wishes)) == jobs.digest(whole)


def test_a_region_is_the_crop(folder, whole):
    part = jobs.run(folder, None, **BF16, roi=(40, 70, 333, 290))[-1].result
    known = np.asarray(whole[-1].result.np)[40:333, 70:290]
    assert np.array_equal(np.asarray(part.np), known)


def test_the_record_says_so_and_what_is_copied_too(whole):
    record = whole[-1].result.record
    assert record["precision"] == "bf16"
    assert "precision='bf16'" in as_python(record, "slide = ...")
    assert "--precision bf16" in as_command(record, Opening("section.ome.tif", {}))


def test_it_goes_on_from_nothing_else(folder, out):
    running = jobs.predict(folder, out)
    for event in running:
        if isinstance(event, ShardDone):
            break
    running.close()
    with pytest.raises(ValueError, match="precision is full there and bf16 here"):
        jobs.run(folder, out, resume=True, **BF16)
    record = dict(api.open_result(out).record)
    older = {name: value for name, value in record.items() if name != "precision"}
    assert not differences(older, record)
    assert "precision" not in as_python(record, "slide = ...")


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be one of full, bf16, got 'half'"):
        api.PredictConfig(precision="half")
