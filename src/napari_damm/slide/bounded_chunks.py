"""Chunks of zarr arrays that were made elsewhere: unpacked only where they hold what is stated.

1. How large a packed chunk becomes is known before it is unpacked: zstd, blosc and lz4 say it in
   their first bytes; the others are unpacked piece by piece, up to the limit.
2. What becomes larger than a chunk of its array is refused.
3. A shard is looked at chunk by chunk, by the index that it holds.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import LocalStore, WrapperStore

from napari_damm.slide.zarr_metadata import Packing, check_arrays

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

SLACK = 2**20
"""Bytes by which a chunk may be larger than stated: headers, check sums."""
METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ABSENT = 2**64 - 1  # offset and length, in a shard's index, of a chunk that is not stored


class BoundedStore(WrapperStore[LocalStore]):
    """A zarr folder for reading, whose chunks are checked before they are unpacked."""

    def __init__(self, store: LocalStore, packings: Mapping[str, Packing]) -> None:
        super().__init__(store)
        self.packings = dict(packings)

    @classmethod
    def at(cls, folder: Path) -> BoundedStore:
        """Open a folder.

        Raises
        ------
        ValueError
            As `zarr_metadata.check_arrays`.
        """
        packings = check_arrays(folder)
        return cls(LocalStore(folder, read_only=True), packings)

    def _with_store(self, store: LocalStore) -> BoundedStore:
        return type(self)(store, self.packings)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return what is stored under a key.

        Raises
        ------
        ValueError
            It is a chunk that would become larger than its array states.
        """
        packing = self._packing(key)
        if packing is None:
            return await self._store.get(key, prototype, byte_range)
        limit = packing.most_bytes + SLACK
        if self._length(key, byte_range) > 2 * limit:
            raise _too_large(key, limit)
        found = await self._store.get(key, prototype, byte_range)
        if found is not None and not isinstance(byte_range, SuffixByteRequest):
            whole = packing.shard_chunks if byte_range is None else 0
            for part in _parts(found.to_bytes(), whole, packing.index_first):
                _check_chunk(part, packing.packer, limit, key)
        return found

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return what is stored under keys, each as `get`."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **_: Any,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield parts of what is stored under a key, each as `get`.

        Since zarr 3.4 chunks of a shard are asked for so, and the wrapped store would answer,
        several chunks in one piece.
        """
        for number, part in enumerate(byte_ranges):
            found = await self.get(key, prototype, part)
            if found is None:
                raise ExceptionGroup(key, [FileNotFoundError(key)])
            yield [(number, found)]

    @property
    def _supports_sync_io(self) -> bool:
        """Without this zarr may read past `get`, from 3.4 on."""
        return False

    def _packing(self, key: str) -> Packing | None:
        path, _, name = key.rpartition("/")
        if name in METADATA:
            return None
        while path not in self.packings:
            if not path:
                return None
            path = path.rpartition("/")[0]
        return self.packings[path]

    def _length(self, key: str, byte_range: ByteRequest | None) -> int:
        """Return how many bytes are asked for."""
        if isinstance(byte_range, RangeByteRequest):
            return byte_range.end - byte_range.start
        if isinstance(byte_range, SuffixByteRequest):
            return byte_range.suffix
        try:
            return (self._store.root / key).stat().st_size
        except OSError:
            return 0  # a chunk that is not stored is background


def _parts(stored: bytes, shard_chunks: int, index_first: bool) -> Iterator[bytes]:
    """Yield the packed chunks in what is stored: itself, or those that a shard's index lists."""
    if not shard_chunks:
        yield stored
        return
    size = 16 * shard_chunks
    index = stored[:size] if index_first else stored[-size - 4 : -4]  # a check sum of 4 bytes
    if len(index) < size:
        return  # zarr says what is wrong with it
    for start, length in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
        if start != _ABSENT:
            yield stored[start : start + length]


def _check_chunk(packed: bytes, packer: str, limit: int, key: str) -> None:
    size = _stated_size(packed, packer)
    if not (_UNPACKS_WITHIN[packer](packed, limit) if size is None else size <= limit):
        raise _too_large(key, limit)


def _too_large(key: str, limit: int) -> ValueError:
    return ValueError(
        f"chunk {key} is damaged, it becomes larger than the {limit / 2**20:,.0f} MiB that its "
        "array states: export it again"
    )


def _stated_size(packed: bytes, packer: str) -> int | None:
    """Return how many bytes a packed chunk says that it becomes; None: it does not say."""
    if packer == "":
        return len(packed)
    if packer == "blosc" and len(packed) >= 8:
        return int(struct.unpack_from("<I", packed, 4)[0])
    if packer == "lz4" and len(packed) >= 4:
        return int(struct.unpack_from("<I", packed)[0])
    if packer == "zstd":
        return _zstd_size(packed)
    return None if packer in _UNPACKS_WITHIN else 0  # too short: the codec says so


def _zstd_size(packed: bytes) -> int | None:
    """Return the content size in the header of a zstd frame (RFC 8878, 3.1.1.1)."""
    if not packed.startswith(_ZSTD_MAGIC) or len(packed) < 6:
        return 0  # no frame: the codec says so
    descriptor = packed[4]
    single_segment, flag = descriptor >> 5 & 1, descriptor >> 6
    start = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[flag]
    if width == 0:
        return None
    return int.from_bytes(packed[start : start + width], "little") + (256 if flag == 1 else 0)


def _zstd_within(packed: bytes, limit: int) -> bool:
    import imagecodecs

    try:
        imagecodecs.zstd_decode(packed, out=limit)
    except imagecodecs.ZstdError as error:
        return "too small" not in str(error)
    return True


def _stream_within(decoder: Callable[[], Any]) -> Callable[[bytes, int], bool]:
    """Return a check that unpacks up to the limit, and a byte more."""

    def within(packed: bytes, limit: int) -> bool:
        left = limit + 1
        while packed and left > 0:
            stream = decoder()
            try:
                left -= len(stream.decompress(packed, left))
            except (OSError, EOFError, lzma.LZMAError, zlib.error):
                return True  # damaged: the codec says so
            if not stream.eof:
                break
            packed = stream.unused_data  # a further member
        return left > 0

    return within


_GZIP_OR_ZLIB = _stream_within(lambda: zlib.decompressobj(wbits=47))
_UNPACKS_WITHIN: dict[str, Callable[[bytes, int], bool]] = {
    "zstd": _zstd_within,
    "gzip": _GZIP_OR_ZLIB,
    "zlib": _GZIP_OR_ZLIB,
    "bz2": _stream_within(bz2.BZ2Decompressor),
    "lzma": _stream_within(lzma.LZMADecompressor),
}
"""Whether a packed chunk becomes at most so many bytes, by unpacking it."""
