"""Checkpoints of the authors' code: pickles in a zip, whose sizes and members may be anything."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from checkpoints import nested

from zoo.case import Group, canary

CASES = Group("checkpoints")

NUMBERS = struct.pack("4f", 1, 2, 3, 4)
HUGE = 2 ** (8 * 100_000)
BAD = r"bad\.ckpt"


def tensor(size: Any, stride: Any, offset: Any = 0, elements: Any = 4, names: int = 1) -> bytes:
    """Pickle a state_dict whose tensors view storage 0."""
    import torch

    class Storage: ...

    class Stub:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            known = isinstance(obj, Storage)
            return ("storage", torch.FloatStorage, "0", "cpu", elements) if known else None

    stream = io.BytesIO()
    Pickler(stream, 4).dump({"state_dict": {f"w{i}": Stub() for i in range(names)}})
    return stream.getvalue()


def pack(path: Path, pickled: bytes, storage: bytes = NUMBERS, compress: bool = False) -> None:
    """Put a pickle and storage 0 into a checkpoint."""
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", storage)


def running(function: str, *arguments: object) -> bytes:
    """Pickle a call by hand."""
    module, name = function.rsplit(".", 1)
    parts = [b"\x80\x04", pickle.dumps(module, 4)[2:-1], pickle.dumps(name, 4)[2:-1], b"\x93("]
    parts += [pickle.dumps(argument, 4)[2:-1] for argument in arguments]
    return b"".join([*parts, b"tR."]).replace(b"\x94", b"")


def cut(path: Path, pickled: bytes) -> None:
    pack(path, pickled)
    os.truncate(path, path.stat().st_size - 30)


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", tensor((4,), (1,)))
        for i in range(100_001):
            archive.writestr(f"archive/data/{i}", b"")


MAKERS: dict[str, Callable[[Path], object]] = {
    "a size of 800,000 bits": lambda p: pack(p, tensor((HUGE,), (1,))),
    "a stride of 800,000 bits": lambda p: pack(p, tensor((2,), (HUGE,))),
    "an offset of 800,000 bits": lambda p: pack(p, tensor((2,), (1,), HUGE)),
    "a storage of 800,000 bits": lambda p: pack(p, tensor((2,), (1,), elements=HUGE)),
    "300 sizes of 800 bits": lambda p: pack(p, tensor((2**800,) * 300, (1,) * 300)),
    "a size of 2^63": lambda p: pack(p, tensor((2**63,), (0,))),
    "a size of 8 GB by stride 0": lambda p: pack(p, tensor((2**31,), (0,))),
    "sizes whose product is 2^64": lambda p: pack(p, tensor((2**32, 2**32), (0, 0))),
    "a size that is bytes": lambda p: pack(p, tensor((b"x" * 10**6,), (1,))),
    "a size that is a list of lists": lambda p: pack(p, tensor(([[2]],), (1,))),
    "a size times text": lambda p: pack(p, tensor((10**9,), ("ab",))),
    "a stride that is a float": lambda p: pack(p, tensor((2,), (1e300,))),
    "a size that is true": lambda p: pack(p, tensor((True,), (1,))),
    "a size that is a dictionary": lambda p: pack(p, tensor({1: 2}, (1,))),
    "nine dimensions": lambda p: pack(p, tensor((1,) * 9, (1,) * 9)),
    "a million dimensions": lambda p: pack(p, tensor((1,) * 10**6, (1,) * 10**6)),
    "sizes without strides": lambda p: pack(p, tensor((2, 2), (1,))),
    "an offset below zero": lambda p: pack(p, tensor((2,), (1,), -1)),
    "a storage that is longer than it is": lambda p: pack(p, tensor((64,), (1,), elements=64)),
    "many views of one storage": lambda p: pack(
        p, tensor((2**18,), (1,), elements=2**18, names=2000), b"\0" * 2**20
    ),
    "members within members": lambda p: nested(p, copies=300, megabytes=40),
    "100,001 members": many_members,
    "a pickle of 5 MB": lambda p: pack(p, b"\x80\x02" + b"(" * (5 * 2**20) + b"."),
    "4 MB of marks": lambda p: pack(p, b"\x80\x02" + b"(" * (4 * 2**20 - 3) + b"."),
    "4 MB of lists": lambda p: pack(p, b"\x80\x02" + b"]" * (4 * 2**20 - 3) + b"."),
    "4 MB of doublings": lambda p: pack(
        p, b"\x80\x02]" + b"2" * 2**20 + b"(" + b"2e" * 10**6 + b"."
    ),
    "a compressed storage of 256 MB": lambda p: pack(
        p, tensor((2**26,), (1,), elements=2**26), b"\0" * 2**28, compress=True
    ),
    "cut short": lambda p: cut(p, tensor((4,), (1,))),
    "an empty file": lambda p: p.touch(),
    "a FIFO": os.mkfifo,
    "a folder": lambda p: p.mkdir(),
    "a link to a device": lambda p: p.symlink_to("/dev/zero"),
    "text": lambda p: p.write_text("PK not"),
    "a zip of something else": lambda p: zipfile.ZipFile(p, "w").writestr("a.txt", "a"),
    "a sound file of another network": lambda p: pack(p, tensor((4,), (1,))),
    "a line of 10,000 characters as a key": lambda p: pack(
        p, pickle.dumps({"state_dict": {"k\n\x1b[31m" * 2000: 1}})
    ),
}

CALLS = {
    "os.system": lambda mark: running("os.system", f"touch {mark}"),
    "builtins.eval": lambda mark: running("builtins.eval", f"open({str(mark)!r}, 'w')"),
    "builtins.exec": lambda mark: running("builtins.exec", f"open({str(mark)!r}, 'w')"),
    "builtins.open": lambda mark: running("builtins.open", str(mark), "w"),
    "subprocess.call": lambda mark: running("subprocess.call", ["touch", str(mark)]),
    "pathlib.Path.touch": lambda mark: running("pathlib.Path.touch", str(mark)),
    "torch.load": lambda mark: running("torch.load", str(mark)),
    "runpy.run_path": lambda mark: running("runpy.run_path", str(mark)),
}


def _cases() -> None:
    for name, make in MAKERS.items():

        @CASES.refused(name, BAD, quick="members" not in name and "256 MB" not in name)
        def build(folder: Path, make: Callable[[Path], object] = make) -> list[str]:
            make(folder / "bad.ckpt")
            return ["models", "import", "bad.ckpt"]

    for name, call in CALLS.items():

        @CASES.refused(f"a call of {name}", BAD)
        def hostile(folder: Path, call: Callable[[Path], bytes] = call) -> list[str]:
            pack(folder / "bad.ckpt", call(canary(folder)))
            return ["models", "import", "bad.ckpt"]


_cases()
