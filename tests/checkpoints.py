"""Checkpoint files for tests: as torch writes them, and crafted by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.tensor([1.5, -2.5])}


def save(path: Path, content: object, **options: object) -> Path:
    """Save an object as torch does."""
    torch.save(content, path, **options)
    return path


def pack(
    path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, storage: bytes | None = None
) -> Path:
    """Put a pickle, and storage 0, of our own making into a checkpoint."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        if storage is not None:
            archive.writestr("archive/data/0", storage)
    return path


def assert_weights(state: dict[str, torch.Tensor]) -> None:
    assert list(state) == list(WEIGHTS)
    assert all(torch.equal(state[key], value) for key, value in WEIGHTS.items())
