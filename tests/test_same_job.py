"""Who may write a result, what continues it, and that it is the same however it is computed."""

from __future__ import annotations

import hashlib
import os

import jobs
import numpy as np
import pytest
from jobs import digest, options, run

from napari_damm import api, cli
from napari_damm.events import Notice, Planned, ShardDone
from napari_damm.slide.identity import file_identity
from napari_damm.store import ResultStore, StoreLocked

pytestmark = pytest.mark.usefixtures("quick_first_stages")


@pytest.fixture(scope="module")
def whole(folder):
    return run(folder, None)


# ---------------------------------------------------------------- a second writer, other jobs


def test_a_second_writer_is_refused_and_the_first_goes_on(folder, out, whole, capfd):
    running = jobs.predict(folder, out)
    events = [next(running)]
    while not isinstance(events[-1], Planned):
        events.append(next(running))
    with pytest.raises(StoreLocked, match="another run"):
        run(folder, out, resume=True)
    ended = options(folder, out, "--resume")
    assert cli.main(ended) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
    events.extend(running)
    assert digest(events) == digest(whole)


def test_the_command_line_names_the_difference_and_repeats_nothing(folder, out, capfd):
    assert cli.main(options(folder, out)) == 0
    before = hashes(out)
    capfd.readouterr()
    assert cli.main(options(folder, out, "--resume", "--seed", "5")) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert "seed is 0 there and 5 here" in line
    assert cli.main(options(folder, out, "--resume")) == 0
    assert hashes(out) == before


def hashes(path):
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.rglob("*")
        if file.is_file()
    }


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize(
    "wishes", [{"shard": 128, "lanes": 2}, {"order": "centre"}, {"shard": 3072}], ids=str
)
def test_the_result_is_the_same_however_it_is_cut(folder, whole, wishes):
    assert digest(run(folder, None, **wishes)) == digest(whole)


def test_a_region_is_the_crop_bit_for_bit(folder, whole):
    part = run(folder, None, roi=(37, 101, 401, 590), shard=128)[-1].result
    everything = whole[-1].result
    assert np.array_equal(np.asarray(part.np), np.asarray(everything.np[37:401, 101:590]))
    for name in ("uncertainty", "branch"):
        cells = np.asarray(getattr(everything, name))[37 // 32 : 13, 101 // 32 : 19]
        assert np.array_equal(np.asarray(getattr(part, name)), cells)


def test_a_config_of_other_workers_is_the_same_job(folder, out, whole):
    running = jobs.predict(folder, out)
    while not isinstance(next(running), ShardDone):
        pass
    running.close()
    other = api.PredictConfig(**jobs.QUICK | {"lanes": 3, "order": "centre"})
    slide = api.open_slide(folder / "section.ome.tif")
    again = list(api.predict(slide, folder / "tiny.safetensors", other, out, resume=True))
    assert digest(again) == digest(whole)
    assert list(out.parent.iterdir()) == [out]


def test_a_large_file_that_was_written_since_is_told_of_before_it_is_gone_on_with(
    folder, out, tmp_path, monkeypatch
):
    def resumed():
        return [e.message for e in run(folder, out, resume=True) if isinstance(e, Notice)]

    run(folder, out)
    path = folder / "section.ome.tif"
    before = path.stat()
    try:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
        assert not [said for said in resumed() if "was written since" in said]  # all was compared
        monkeypatch.setattr("napari_damm.slide.identity.HASHED_BYTES", 2**10)
        store = ResultStore.reopen(out)
        kept = store.record["input"]
        for role in ("vessels", "nuclei"):
            kept[role] |= file_identity(path) | {"mtime_ns": before.st_mtime_ns}
        store.update_record({"input": kept})
        store.close()
        (said,) = [said for said in resumed() if "was written since" in said]
        assert said.startswith(f"{path} was written since this result began, and only 64 parts")
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
