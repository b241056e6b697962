"""Latents of views: how they are encoded, and kept in a file of records."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch
from disks import DiskUsage
from models import random_model, tiny_config

from napari_damm.train import latent_cache
from napari_damm.train.latent_cache import LatentFile, encode_windows


def test_windows_are_encoded_by_the_autoencoder_of_their_role():
    model = random_model(tiny_config())
    windows = torch.rand(2, 3, 16, 16) * 2 - 1
    made = encode_windows(model, windows)
    with torch.no_grad():
        assert torch.allclose(made.secondary, model.encode(windows[:, 1:2], "nuclei"), atol=1e-5)
        assert torch.allclose(made.target, model.encode(windows[:, 2:], "target"), atol=1e-5)


def test_a_model_of_three_colours_gets_grey_images():
    model = random_model(tiny_config(image_channels=3))
    windows = torch.rand(1, 3, 16, 16) * 2 - 1
    made = encode_windows(model, windows)
    with torch.no_grad():
        assert torch.equal(
            made.primary, model.encode(windows[:, :1].expand(-1, 3, -1, -1), "primary")
        )


def test_a_torn_record_counts_as_none(tmp_path):
    path = tmp_path / "z.bin"
    file = LatentFile(path, (4, 2, 2), 3)
    made = np.arange(48, dtype=np.float16).reshape(3, 4, 2, 2)
    file.write(1, made)
    assert file.read(0) is None
    np.testing.assert_array_equal(file.read(1), made)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    assert LatentFile(path, (4, 2, 2), 3).read(1) is None


def test_too_little_room_is_told_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache.shutil, "disk_usage", lambda path: DiskUsage(0, 0, 2**30))
    file = LatentFile(tmp_path / "z.bin", (4, 2, 2), 3)
    assert "would take 1 MB, and 1.1 GB are to be left, of 1.1 GB that are free" in file.warning
    file.write(0, np.zeros((3, 4, 2, 2), np.float16))
    assert file.read(0) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "Input/output error")]
)
def test_a_disk_that_takes_no_more_ends_the_keeping(tmp_path, monkeypatch, number, words):
    file = LatentFile(tmp_path / "z.bin", (4, 2, 2), 3)

    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fails)
    file.write(0, np.zeros((3, 4, 2, 2), np.float16))
    assert words in file.warning
    assert file.read(0) is None


def test_latents_that_would_fill_the_disk_are_not_kept(tmp_path):
    file = LatentFile(tmp_path / "z.bin", (8, 1024, 1024), 10**9)
    assert "computed anew" in file.warning
    assert not (tmp_path / "z.bin").exists()


def test_a_record_that_holds_what_is_no_number_counts_as_none(tmp_path):
    file = LatentFile(tmp_path / "z.bin", (4, 2, 2), 1)
    file.write(0, np.full((3, 4, 2, 2), np.nan, np.float16))
    assert file.read(0) is None


def test_latents_are_not_written_through_a_link(tmp_path):
    (tmp_path / "z.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link"):
        LatentFile(tmp_path / "z.bin", (4, 2, 2), 1)
    assert not (tmp_path / "elsewhere").exists()
