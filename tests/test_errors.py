"""Telling a full disk and lack of memory from everything else, here and out of other processes."""

from __future__ import annotations

import errno
import pickle

import pytest
import torch

from napari_damm.store import DiskFull
from napari_damm.util.errors import disk_full_named, is_disk_full, is_out_of_memory, one_line

FULL = [errno.ENOSPC, errno.EFBIG, errno.EDQUOT]


@pytest.mark.parametrize("number", FULL)
def test_every_way_in_which_a_disk_is_full_is_known(number):
    assert is_disk_full(OSError(number, "full"))


def test_the_system_s_number_is_not_told():
    assert one_line(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert one_line(OSError(errno.EIO, "broken", "a.tif")) == "a.tif: broken"
    assert one_line(OSError("said by us")) == "said by us"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), OSError("?"), ValueError("no")])
def test_other_errors_are_not_a_full_disk(error):
    assert not is_disk_full(error)


@pytest.mark.parametrize("number", FULL)
def test_a_full_disk_is_still_one_when_another_process_sends_it(number, tmp_path):
    with pytest.raises(DiskFull) as caught, disk_full_named("a shard", tmp_path, "free some"):
        raise OSError(number, "full")
    sent = pickle.loads(pickle.dumps(caught.value))
    assert is_disk_full(sent)
    assert type(sent) is DiskFull
    assert one_line(sent) == one_line(caught.value)
    assert str(tmp_path) in one_line(sent)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 18.0 GB). Tried to allocate 1 GB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_way_to_lack_memory_is_known_also_when_sent(error):
    assert is_out_of_memory(error)
    assert is_out_of_memory(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("not enough memory")])
def test_other_errors_are_not_lack_of_memory(error):
    assert not is_out_of_memory(error)


def test_an_error_is_told_in_one_line():
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(FileNotFoundError(errno.ENOENT, "No such file", "a.tif")) == (
        "a.tif: No such file"
    )
