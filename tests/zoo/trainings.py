"""Training folders from elsewhere: tampered with, and continued; files of settings."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.case import Group, canary
from zoo.goods import TRAINING, good

CASES = Group("trainings")

BAD = r"training[/ ]"
DEEP = "[" * 100_000 + "]" * 100_000
STATE, LAST, CURVES = "run.json", "last.ckpt", "curves.csv"

Spoil = Callable[[Path], object]


def record(**changes: Any) -> Spoil:
    """Change entries of `run.json`."""

    def spoil(run: Path) -> None:
        path = run / STATE
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def setting(**changes: Any) -> Spoil:
    """Change settings in `run.json`."""

    def spoil(run: Path) -> None:
        config = json.loads((run / STATE).read_text())["config"]
        record(config={**config, **changes})(run)

    return spoil


def whole(name: str, content: bytes) -> Spoil:
    """Put another content into a file."""
    return lambda run: (run / name).write_bytes(content)


def pipe(name: str) -> Spoil:
    """Put a pipe in the place of a file."""

    def spoil(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return spoil


def link(name: str) -> Spoil:
    """Let a name lead to a place outside."""

    def spoil(run: Path) -> None:
        path, outside = run / name, canary(run.parent).with_suffix(".outside")
        if path.exists():
            path.rename(outside)
        path.symlink_to(outside)

    return spoil


def latents(make: Callable[[Path], object]) -> Spoil:
    """Put something in the place of the file of latents."""

    def spoil(run: Path) -> None:
        (path,) = (run / "latents").iterdir()
        path.unlink()
        make(path)

    return spoil


def header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the header of the checkpoint."""

    def spoil(run: Path) -> None:
        path = run / LAST
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        entries = json.loads(content[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return spoil


def extra(**changes: Any) -> Spoil:
    """Change what the checkpoint says beside its tensors."""
    return header(lambda entries: entries["__metadata__"].update(changes))


def not_finite(run: Path) -> None:
    """Let every number of the checkpoint be none."""
    path = run / LAST
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    path.write_bytes(content[: 8 + length] + b"\xff" * (len(content) - 8 - length))


def longer(run: Path) -> None:
    """Declare a tensor of 2^40 numbers."""

    def change(entries: dict[str, Any]) -> None:
        name = next(name for name in entries if name != "__metadata__")
        entries[name]["shape"] = [2**40]

    header(change)(run)


SPOILED: dict[str, Spoil] = {
    "a state that is no JSON": whole(STATE, b"{"),
    "a state that is a list": whole(STATE, b"[]"),
    "a state nested 100,000 deep": whole(STATE, DEEP.encode()),
    "a state of 70 MB": whole(STATE, b" " * (70 * 2**20) + b"{}"),
    "a state that is a pipe": pipe(STATE),
    "a step of 400 digits": whole(STATE, b'{"step": ' + b"9" * 400 + b"}"),
    "a step of Infinity": whole(STATE, b'{"step": Infinity}'),
    "a step twice": whole(STATE, b'{"step": 1, "step": 2}'),
    "a progress in words": record(progress="half"),
    "data that are a number": record(data=7),
    "a model elsewhere": record(model="../../elsewhere.safetensors"),
    "a batch of 10^12": setting(batch_size=10**12),
    "an unknown setting": setting(evil=True),
    "variants that are a list": setting(variants=[]),
    "a source of another kind": record(sources=[{"kind": "pickle", "path": "x"}]),
    "a source that is text": record(sources=["x"]),
    "a checkpoint that is a pipe": pipe(LAST),
    "a checkpoint that is a link": link(LAST),
    "a checkpoint that is empty": whole(LAST, b""),
    "a checkpoint that is a pickle": whole(LAST, b"\x80\x04cos\nsystem\n(Vtrue\ntR."),
    "a checkpoint whose header is 2^60 long": whole(LAST, struct.pack("<Q", 2**60) + b"{}"),
    "a checkpoint of 2^40 numbers": longer,
    "a checkpoint that is not finite": not_finite,
    "a checkpoint of step -1": extra(step="-1"),
    "a checkpoint of a step of 400 digits": extra(step="9" * 400),
    "a checkpoint without a trainer": extra(**{"extra.standing": ""}),
    "a trainer nested 100,000 deep": extra(**{"extra.standing": DEEP}),
    "a trainer of 10^9 parts": extra(**{"extra.standing": '{"parts": 1000000000}'}),
    "a trainer of half validations": extra(**{"extra.standing": '{"validations": 0.5}'}),
    "a trainer whose best is text": extra(**{"extra.standing": '{"best": "x"}'}),
    "curves that are a link": link(CURVES),
    "curves that are a pipe": pipe(CURVES),
    "latents that are a link": link("latents"),
    "a file of latents that is a link": latents(lambda path: path.symlink_to("/dev/null")),
    "a file of latents that is a pipe": latents(lambda path: os.mkfifo(path)),
    "autoencoders behind a link": link("first_stages"),
    "a lock that is a link": link("writer.lock"),
}


def _cases() -> None:
    for name, spoil in SPOILED.items():

        @CASES.refused(name, BAD)
        def resume(folder: Path, spoil: Spoil = spoil) -> list[str]:
            run = good(TRAINING, folder)
            spoil(run)
            return ["train", "--out", run.name, "--resume"]


_cases()


SETTINGS: dict[str, bytes] = {
    "that are no text": b"\xff\xfe\x00",
    "nested 100,000 deep": b"a = " + DEEP.encode(),
    "of 5 MB": b"# " + b"x" * (5 * 2**20),
    "of data in words": b'data = "slides"',
    "of a batch of NaN": b"batch_size = nan",
    "of a date": b"seed = 1979-05-27",
    "of the same twice": b"seed = 1\nseed = 2",
}


def _settings() -> None:
    for name, content in SETTINGS.items():

        @CASES.refused(f"settings {name}", r"settings\.toml")
        def begin(folder: Path, content: bytes = content) -> list[str]:
            (folder / "settings.toml").write_bytes(content)
            return ["train", "--config", "settings.toml", "--out", "run"]


_settings()


@CASES.refused("settings that are a pipe", r"settings\.json")
def settings_pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "settings.json")
    return ["train", "--config", "settings.json", "--out", "run"]


def _finished(folder: Path, stdout: str) -> None:
    assert "model" in stdout, stdout
    assert (folder / TRAINING / "mine.safetensors").is_file()
    assert not canary(folder).exists()


ODD: dict[str, Spoil] = {
    "curves of one endless field": whole(CURVES, b'step,loss\n1,"' + b"x" * 300_000),
    "curves of junk": whole(
        CURVES,
        b"step,loss,ssim,phase\n" + b"9" * 5000 + b",1,1,\n1,x,y,\n1,nan,inf,\x1b[2J\n\0\xff",
    ),
    "latents that are not finite": latents(lambda path: path.write_bytes(_record(0x7E00))),
    "latents that are cut short": latents(lambda path: path.write_bytes(b"\0" * 100)),
}


def _record(bits: int) -> bytes:
    """Return many records of one number, each with a valid checksum."""
    import zlib

    from napari_damm.util.tiling import WINDOW

    side = WINDOW // 8
    data = struct.pack("<H", bits) * (3 * 4 * side * side)
    return (data + zlib.crc32(data).to_bytes(4, "big")) * 16


def _odd() -> None:
    for name, spoil in ODD.items():

        @CASES.works(name, _finished, quick=False)
        def resume(folder: Path, spoil: Spoil = spoil) -> list[str]:
            run = good(TRAINING, folder)
            spoil(run)
            return ["train", "--out", run.name, "--resume"]


_odd()
