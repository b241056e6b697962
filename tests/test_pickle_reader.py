"""Weights are read from checkpoints as torch wrote them; other files are refused."""

from __future__ import annotations

import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from checkpoints import WEIGHTS, assert_weights, stored_tensor

from napari_damm.model_file.pickle_reader import CheckpointError, read_state_dict

# ---------------------------------------------------------------- files that torch wrote


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_weights_are_read_as_torch_wrote_them(saved, protocol):
    path = saved({"epoch": 3, "state_dict": OrderedDict(WEIGHTS)}, pickle_protocol=protocol)
    assert_weights(read_state_dict(path))


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    ],
)
def test_every_plain_number_type_is_read(saved, dtype):
    value = torch.tensor([[0, 1], [1, 0], [1, 1]]).to(dtype)
    got = read_state_dict(saved({"state_dict": {"w": value}}))["w"]
    assert got.dtype == dtype
    assert torch.equal(got, value)


def test_views_parameters_and_empty_tensors_are_read(saved):
    base = torch.arange(12.0).view(3, 4)
    state = {
        "view": base.T[1:3],
        "shared": base[2],
        "parameter": torch.nn.Parameter(base),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 5),
    }
    got = read_state_dict(saved({"state_dict": state}))
    assert list(got) == list(state)
    assert all(torch.equal(got[key], value) for key, value in state.items())


def test_a_module_s_own_state_dict_is_read(saved):
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    got = read_state_dict(saved({"state_dict": module.state_dict()}))
    assert all(torch.equal(got[key], value) for key, value in module.state_dict().items())


def test_an_optimiser_s_state_is_not_even_read(saved, monkeypatch):
    path = saved({"state_dict": WEIGHTS, "optimizer_states": [{"m": torch.zeros(1000)}]})
    read = []
    original = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, name, *a: read.append(name) or original(self, name)
    )
    read_state_dict(path)
    assert len(read) == 3  # data.pkl and the two weights


# ---------------------------------------------------------------- tensors and their storages
@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2**40,), (0,), 0),  # one stored number, repeated
        ((2**40,), (1,), 0),
        ((2, 2), (2, 2), 0),
        ((2,), (1,), 3),
        ((2,), (1,), -1),
        ((-1,), (1,), 0),
        ((2,), (-1,), 1),
        ((2**40, 0, -1), (1, 1, 1), 0),
        ((2,), (1, 1), 0),
        (("2",), (1,), 0),
        ("2", "1", 0),
        (2, 1, 0),
        ((2.0,), (1,), 0),
        (([2],), (1,), 0),
    ],
)
def test_a_tensor_must_fit_its_storage(packed, size, stride, offset):
    path = packed(stored_tensor(size, stride, offset), storage=struct.pack("4f", 1, 2, 3, 4))
    with pytest.raises(CheckpointError, match=r"crafted\.ckpt"):
        read_state_dict(path)


def test_a_tensor_that_fits_its_storage_is_read(packed):
    path = packed(stored_tensor((2,), (2,), 1), storage=struct.pack("4f", 1, 2, 3, 4))
    assert read_state_dict(path)["w"].tolist() == [2.0, 4.0]


def test_a_storage_that_is_cut_short_or_missing_is_refused(packed):
    pickled = stored_tensor((4,), (1,))
    with pytest.raises(CheckpointError, match="storage 0 is cut short"):
        read_state_dict(packed(pickled, storage=b"\0" * 15))
    with pytest.raises(CheckpointError, match="it lacks data/0"):
        read_state_dict(packed(pickled))


def test_a_zip_bomb_is_refused_unread(packed):
    path = packed(stored_tensor((4,), (1,)), zipfile.ZIP_DEFLATED, storage=b"\0" * 2**20)
    with pytest.raises(CheckpointError, match=r"data\.pkl is compressed"):
        read_state_dict(path)


# ---------------------------------------------------------------- files that are something else


def test_a_missing_file_and_a_folder_are_os_errors_that_name_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.ckpt"):
        read_state_dict(tmp_path / "no.ckpt")
    with pytest.raises(OSError, match=tmp_path.name):
        read_state_dict(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 neither"])
def test_a_file_that_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "text.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"text\.ckpt is not a PyTorch checkpoint"):
        read_state_dict(path)


def test_torch_s_old_format_is_refused(saved):
    path = saved({"state_dict": WEIGHTS}, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="is not a PyTorch checkpoint"):
        read_state_dict(path)


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "photos.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"...")
    with pytest.raises(CheckpointError, match=r"must contain one data\.pkl, got 0"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [WEIGHTS, {"model": WEIGHTS}, [1, 2], {"state_dict": [1]}])
def test_a_file_without_a_state_dict_is_refused(saved, content):
    with pytest.raises(CheckpointError, match="it holds no state_dict: is it a Lightning"):
        read_state_dict(saved(content))
