"""Read the weights of a PyTorch checkpoint without running anything that is in it.

1. The file is a zip: `data.pkl` describes the objects, `data/<key>` holds the numbers.
2. `pickle_opcodes` replays the description, executing nothing.
3. Members are seen not to overlap, and sizes to be plain numbers, before anything is multiplied.
4. The tensors of `state_dict` are read, once their shapes were seen to fit what is stored.

Why not `torch.load(weights_only=True)`: it refuses the whole file for one class that it does not
know, and a Lightning checkpoint names the authors' own classes among its hyperparameters; it
believes sizes (a few bytes of pickle make it allocate gigabytes); and in the versions of torch
before 2.6 it could be made to run code (CVE-2025-32434). Python's own unpickler, restricted by
`find_class`, is not enough either: it still calls what stand-ins offer, and overflows the stack.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_damm.model_file.pickle_opcodes import CheckpointError, Storage, StoredTensor, replay
from napari_damm.util.files import open_regular

if TYPE_CHECKING:
    import torch


LONGEST_PICKLE = 4 * 2**20
"""Bytes: what a pickle makes may take a hundred times as much memory."""
MOST_MEMBERS = 100_000
MOST_DIMENSIONS = 8
_BEYOND = 2**63


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a Lightning checkpoint's `state_dict`; see `read_with_sum`."""
    return read_with_sum(path)[0]


def read_with_sum(path: str | Path) -> tuple[dict[str, torch.Tensor], str]:
    """Return the tensors of a Lightning checkpoint's `state_dict`, and the SHA-256 of the file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    CheckpointError
        If it is no checkpoint, or damaged; the message is one sentence that names the file.
    """
    path = Path(path)
    with open_regular(path) as stream:
        before = os.fstat(stream.fileno())
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        if not zipfile.is_zipfile(stream):
            raise CheckpointError(
                f"{path} is not a PyTorch checkpoint, or is cut short (it is no zip archive)"
            )
        try:
            with zipfile.ZipFile(stream) as archive:
                state = _Archive(archive, stream).state_dict()
        except CheckpointError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from None
        except MemoryError:
            raise
        except Exception:  # a damaged or hostile file can raise anything
            raise CheckpointError(
                f"{path} is damaged or no checkpoint: what it holds makes no sense"
            ) from None
        after = os.fstat(stream.fileno())
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise CheckpointError(f"{path} changed while it was read: try again")
    return state, checksum


_ITEM_BYTES = {
    **{"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "bool": 1},
    **{"int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1},
}


class _Checked(NamedTuple):
    """A view of a storage whose numbers are numbers, so that they may be multiplied."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, name: str, stored: StoredTensor) -> _Checked:
        size, stride = stored.size, stored.stride
        lists = isinstance(size, tuple | list) and isinstance(stride, tuple | list)
        if not lists or len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
            raise CheckpointError(
                f"{name[:80]!r} has no shape of at most {MOST_DIMENSIONS} dimensions"
            )
        numbers = (stored.offset, *size, *stride, stored.storage.elements)
        if not all(type(number) is int and 0 <= number < _BEYOND for number in numbers):
            raise CheckpointError(f"{name[:80]!r} has a shape that is not of whole numbers")
        return cls(stored.storage, stored.offset, tuple(size), tuple(stride))

    @property
    def bytes(self) -> int:
        return prod(self.size) * _ITEM_BYTES[self.storage.dtype]


class _Archive:
    """The zip, and the storages read from it so far (tensors share them)."""

    def __init__(self, archive: zipfile.ZipFile, stream: BufferedReader) -> None:
        self._archive = archive
        self._size = os.fstat(stream.fileno()).st_size
        _check_members(archive.infolist(), stream, self._size)
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(names) != 1:
            raise CheckpointError(f"it must contain one data.pkl, got {len(names)}")
        self._root = names[0].removesuffix("data.pkl")
        self._storages: dict[str, bytearray] = {}

    def state_dict(self) -> dict[str, torch.Tensor]:
        content = replay(self._member("data.pkl", LONGEST_PICKLE))
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise CheckpointError("it holds no state_dict: is it a Lightning checkpoint?")
        for key, value in state.items():
            if not isinstance(key, str) or not isinstance(value, StoredTensor):
                raise CheckpointError(f"state_dict entry {str(key)[:80]!r} is not a tensor")
        checked = {key: _Checked.of(key, stored) for key, stored in state.items()}
        # One tensor under two names is stored once.
        if sum(each.bytes for each in set(checked.values())) > self._size:
            raise CheckpointError("its tensors take more bytes than the file has")
        return {key: self._tensor(key, each) for key, each in checked.items()}

    def _tensor(self, name: str, stored: _Checked) -> torch.Tensor:
        flat = self._flat(stored.storage)
        pairs = zip(stored.size, stored.stride, strict=True)
        last = stored.offset + sum((n - 1) * s for n, s in pairs)
        # the count too: a stride of 0 would make a huge tensor of one stored number
        fits = prod(stored.size) <= flat.numel() and (0 in stored.size or last < flat.numel())
        if not fits:
            raise CheckpointError(
                f"{name[:80]!r} of shape {list(stored.size)} does not fit its storage"
            )
        return flat.as_strided(stored.size, stored.stride, stored.offset)

    def _flat(self, storage: Storage) -> torch.Tensor:
        import torch

        if storage.key not in self._storages:
            self._storages[storage.key] = bytearray(self._member(f"data/{storage.key}"))
        data = self._storages[storage.key]
        dtype: torch.dtype = getattr(torch, storage.dtype)
        count = len(data) // dtype.itemsize
        if count < storage.elements:
            raise CheckpointError(f"its storage {storage.key} is cut short")
        return torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0)

    def _member(self, name: str, most: int | None = None) -> bytes:
        try:
            info = self._archive.getinfo(self._root + name)
        except KeyError:
            raise CheckpointError(f"it lacks {name}") from None
        if info.compress_type != zipfile.ZIP_STORED:
            # PyTorch never compresses; so what is read is never larger than the file
            raise CheckpointError(f"its {name} is compressed: save it with torch.save")
        if most is not None and info.file_size > most:
            raise CheckpointError(f"its {name} has {info.file_size} bytes, more than {most}")
        return self._archive.read(info)


def _check_members(members: list[zipfile.ZipInfo], stream: BufferedReader, size: int) -> None:
    """See that no two members share bytes: nested ones would be read again and again."""
    if len(members) > MOST_MEMBERS:
        raise CheckpointError(f"it has {len(members)} members, more than {MOST_MEMBERS}")
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        stream.seek(member.header_offset)
        local = stream.read(_LOCAL_HEADER)
        if member.header_offset < end or len(local) < _LOCAL_HEADER:
            raise CheckpointError("its members overlap: save it with torch.save")
        name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
        end = member.header_offset + _LOCAL_HEADER + name + extra + member.compress_size
    if end > size:
        raise CheckpointError("its members are longer than the file")


_LOCAL_HEADER = 30
"""Bytes of a member's header in the file, before its name (4.3.7 of the zip specification)."""
