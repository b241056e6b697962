"""Checkpoint files for tests: as torch writes them, and crafted by hand."""

from __future__ import annotations

import io
import pickle
import struct
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


def stored_tensor(size: object, stride: object, offset: object = 0, elements: int = 4) -> bytes:
    """Pickle {'state_dict': {'w': a float32 tensor on storage 0}} by hand."""

    class Stub:
        def __reduce__(self):
            return (torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, {}))

    class Storage: ...

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            known = isinstance(obj, Storage)
            return ("storage", torch.FloatStorage, "0", "cpu", elements) if known else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"state_dict": {"w": Stub()}})
    return stream.getvalue()


def nested(path: Path, copies: int = 300, megabytes: int = 40) -> None:
    """Let every member of a zip hold all that come after it."""
    pack(path, stored_tensor((1,), (1,)), storage=b"\0" * (megabytes * 2**20))
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack_from("<HII", data, end + 10)
    directory = bytes(data[start : start + size])
    last = directory[directory.rindex(b"PK\x01\x02") :]
    more = b"".join(last.replace(b"data/0", b"data/" + bytes([48 + i % 64])) for i in range(copies))
    struct.pack_into(
        "<HHII", data, end + 8, count + copies, count + copies, size + len(more), start
    )
    path.write_bytes(bytes(data[:start]) + directory + more + bytes(data[end:]))
