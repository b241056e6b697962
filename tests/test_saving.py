"""A result that was in memory, saved: the same to the last bit, or nothing left behind."""

from __future__ import annotations

import errno

import jobs
import numpy as np
import pytest

from napari_damm import api
from napari_damm.store import ResultLayout, ResultStore, save_result
from napari_damm.util.areas import Areas

pytestmark = pytest.mark.usefixtures("quick_first_stages")
CORNER = Areas(((((5.0, 5.0), (5.0, 190.0), (300.0, 190.0), (300.0, 5.0)),),), "corner")


@pytest.fixture(scope="module")
def in_memory(folder):
    return jobs.run(folder, None, samples=2, roi=(37, 45, 437, 590))[-1].result


def test_a_saved_result_is_the_same_to_the_last_bit(in_memory, out):
    saved = save_result(in_memory, out)
    assert saved.complete
    assert saved.digest() == in_memory.digest()
    assert saved.record == in_memory.record
    for before, after in zip(in_memory.levels, saved.levels, strict=True):
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    assert (saved.status == in_memory.status).all()


def test_a_saved_result_counts_as_the_job_s_own(folder, out):
    in_memory = jobs.run(folder, None, areas=CORNER)[-1].result
    save_result(in_memory, out)
    again = jobs.run(folder, out, resume=True, areas=CORNER)
    assert jobs.tiles_computed(again) == 0
    assert again[-1].result.digest() == in_memory.digest()


def test_nothing_is_written_over(in_memory, out):
    out.mkdir()
    with pytest.raises(OSError, match="already exists"):
        save_result(in_memory, out)
    assert list(out.iterdir()) == []


def test_an_unfinished_result_is_refused(out):
    store = ResultStore.create(None, ResultLayout((64, 64), 1.0), {"finished": None})
    with pytest.raises(ValueError, match="not finished"):
        save_result(store.result(), out)
    assert not out.exists()


def test_a_full_disk_leaves_nothing(in_memory, out, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_damm.store.saving.seal", full)
    with pytest.raises(OSError, match="No space left"):
        save_result(in_memory, out)
    assert not out.exists()


def test_the_reader_opens_what_was_saved(in_memory, out):
    save_result(in_memory, out)
    assert api.open_result(out).origin == in_memory.origin
