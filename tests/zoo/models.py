"""Model files: `.safetensors` whose header, card, numbers or file are not what they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models import header_of, with_header

from napari_damm.trust.known import VERSION
from zoo.case import Group
from zoo.goods import MODEL, SECTION, good

CASES = Group("models")

Spoil = Callable[[Path], object]

FIRST = "first_stages.primary.input.first.unit.conv.weight"
DEEP = 100_000


def header(change: Callable[[dict[str, Any]], object]) -> Spoil:
    """Change the header of a good file; the numbers stay."""

    def spoil(path: Path) -> None:
        content, numbers = header_of(path)
        change(content)
        with_header(path, content, numbers)

    return spoil


def card(**changes: Any) -> Spoil:
    """Change entries of the card of a good file."""

    def change(content: dict[str, Any]) -> None:
        old = json.loads(content["__metadata__"]["napari_damm"])
        content["__metadata__"]["napari_damm"] = json.dumps(old | changes)

    return header(change)


def card_text(change: Callable[[str], str]) -> Spoil:
    """Change the text of the card, which need be no JSON then."""

    def change_header(content: dict[str, Any]) -> None:
        metadata = content["__metadata__"]
        metadata["napari_damm"] = change(metadata["napari_damm"])

    return header(change_header)


def architecture(part: str | None = None, **changes: Any) -> Spoil:
    """Change the architecture on the card: "unet", every "first_stages", or the whole."""

    def change(text: str) -> str:
        content = json.loads(text)
        there = content["architecture"]
        parts = {"unet": [there["unet"]], "first_stages": there["first_stages"], None: [there]}
        for each in parts[part]:
            each.update(changes)
        return json.dumps(content)

    return card_text(change)


def header_text(old: str, new: str) -> Spoil:
    """Replace text in the header, for what Python's `json` would not write."""

    def spoil(path: Path) -> None:
        content, numbers = header_of(path)
        text = json.dumps(content).replace(old, new, 1).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)

    return spoil


def first_tensor(key: str, value: Any) -> Spoil:
    """Change what the header says of one tensor."""
    return header(lambda content: content[FIRST].update({key: value}))


def first_shape(text: str) -> Spoil:
    """Write something else than a number into a shape."""

    def spoil(path: Path) -> None:
        content, numbers = header_of(path)
        content[FIRST]["shape"] = ["HERE", 1, 3, 3]
        raw = json.dumps(content).replace('"HERE"', text).encode()
        path.write_bytes(len(raw).to_bytes(8, "little") + raw + numbers)

    return spoil


def weights(value: float, dtype: str = "F16") -> Spoil:
    """Put one number into the middle of the weights."""

    def spoil(path: Path) -> None:
        import numpy as np

        content, numbers = header_of(path)
        start = content[FIRST]["data_offsets"][0]
        bad = np.array([value], np.float16).tobytes()
        with_header(path, content, numbers[:start] + bad + numbers[start + 2 :])

    return spoil


def whole(content: bytes) -> Spoil:
    """Put another content into the file."""
    return lambda path: path.write_bytes(content)


def instead(make: Callable[[Path], object]) -> Spoil:
    """Put something else in the place of the file."""

    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


def sparse(path: Path) -> None:
    """Say that there are 100 GB of numbers, and make the file as long, without using disk."""
    content, _ = header_of(path)
    size = 100 * 2**30
    content["extra"] = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    with_header(path, content, b"")
    os.truncate(path, path.stat().st_size + size)


def lengths(length: int) -> bytes:
    """Return a file that says how long its header is, and has none."""
    return length.to_bytes(8, "little") + b"{}"


NOT_OURS = r"bad\.safetensors"
ARCHITECTURE = r"bad\.safetensors has an (invalid architecture|unusable card)"
CARD = r"bad\.safetensors .*card"

SPOILED: dict[str, tuple[Spoil, str]] = {
    # the file
    "an empty file": (whole(b""), NOT_OURS),
    "seven bytes": (whole(b"\1\0\0\0\0\0\0"), NOT_OURS),
    "a header of 2^63 bytes": (whole(lengths(2**63)), NOT_OURS),
    "a header longer than the file": (whole(lengths(4000)), NOT_OURS),
    "a pickle": (whole(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."), NOT_OURS),
    "text": (whole(b"not a model\n" * 400), NOT_OURS),
    "a directory": (instead(Path.mkdir), NOT_OURS),
    "a FIFO": (instead(os.mkfifo), NOT_OURS),
    "a link to a device": (instead(lambda p: p.symlink_to("/dev/zero")), NOT_OURS),
    "a link to itself": (instead(lambda p: p.symlink_to(p.name)), NOT_OURS),
    "a link to nothing": (instead(lambda p: p.symlink_to("gone")), NOT_OURS),
    "100 GB of nothing": (sparse, NOT_OURS),
    "cut short": (lambda p: os.truncate(p, p.stat().st_size - 1), NOT_OURS),
    "something behind the end": (lambda p: os.truncate(p, p.stat().st_size + 8), NOT_OURS),
    # its header
    "a header that is a list": (lambda p: with_header(p, [1], b""), NOT_OURS),
    "a header that is no JSON": (header_text('"__metadata__":', '"__metadata__"'), NOT_OURS),
    "a header that is no UTF-8": (whole((2).to_bytes(8, "little") + b"\xff\xfe"), NOT_OURS),
    "a header nested 100,000 deep": (
        whole((2 * DEEP).to_bytes(8, "little") + b"[" * DEEP + b"]" * DEEP),
        NOT_OURS,
    ),
    "a tensor nested 900 deep": (first_shape("[" * 900 + "]" * 900), NOT_OURS),
    "one tensor twice": (header_text("{", '{"a": 1, "a": 2, '), NOT_OURS),
    "no tensors": (lambda p: with_header(p, {"__metadata__": {}}, b""), NOT_OURS),
    "shape Infinity": (first_shape("Infinity"), NOT_OURS),
    "shape NaN": (first_shape("NaN"), NOT_OURS),
    "shape 1e999": (first_shape("1e999"), NOT_OURS),
    "shape of 400 digits": (first_shape("9" * 400), NOT_OURS),
    "shape of 5,000 digits": (first_shape("9" * 5000), NOT_OURS),
    "shape below zero": (first_shape("-32"), NOT_OURS),
    "shape in words": (first_shape('"32"'), NOT_OURS),
    "shape true": (first_shape("true"), NOT_OURS),
    "shape null": (first_shape("null"), NOT_OURS),
    "shape of no list": (first_tensor("shape", 32), NOT_OURS),
    "shape of 10,000 dimensions": (first_tensor("shape", [1] * 10_000), NOT_OURS),
    "shape whose product overflows": (first_tensor("shape", [2**32, 2**32, 1, 1]), NOT_OURS),
    "an unknown dtype": (first_tensor("dtype", "F17"), NOT_OURS),
    "a dtype that is a list": (first_tensor("dtype", ["F16"]), NOT_OURS),
    "integers for weights": (first_tensor("dtype", "I16"), NOT_OURS),
    "another shape of the same size": (first_tensor("shape", [1, 32, 3, 3]), NOT_OURS),
    "offsets backwards": (first_tensor("data_offsets", [576, 0]), NOT_OURS),
    "offsets below zero": (first_tensor("data_offsets", [-576, 0]), NOT_OURS),
    "offsets Infinity": (first_tensor("data_offsets", [0, float("inf")]), NOT_OURS),
    "offsets onto another tensor": (first_tensor("data_offsets", [64, 640]), NOT_OURS),
    "a tensor too few": (header(lambda h: h.pop(FIRST)), NOT_OURS),
    "a tensor too many": (
        header(lambda h: h.update(x={"dtype": "F16", "shape": [0], "data_offsets": [0, 0]})),
        NOT_OURS,
    ),
    "metadata that is a list": (header(lambda h: h.update(__metadata__=[1])), NOT_OURS),
    # its card
    "no card": (header(lambda h: h.pop("__metadata__")), CARD),
    "a card that is no JSON": (card_text(lambda text: text[:-1]), CARD),
    "a card that is a list": (card_text(lambda text: f"[{text}]"), CARD),
    "a card nested 100,000 deep": (card_text(lambda text: "[" * DEEP + "]" * DEEP), CARD),
    "a card nested 500 deep": (
        card_text(lambda text: text[:-1] + ',"x":' + "[" * 500 + "]" * 500 + "}"),
        CARD,
    ),
    "one entry of the card twice": (
        card_text(lambda text: text[:-1] + ',"modalities":["a","b","c"]}'),
        CARD,
    ),
    "a card of another format": (card(format_version=2), CARD),
    "a card whose format is a list": (card(format_version=[1]), CARD),
    "two modalities": (card(modalities=["vessels", "nuclei"]), CARD),
    "a modality twice": (card(modalities=["a", "a", "b"]), CARD),
    "modalities in one string": (card(modalities="abc"), CARD),
    "a modality that is a number": (card(modalities=["vessels", "nuclei", 3]), CARD),
    "a modality of 1 MB": (card(modalities=["vessels", "nuclei", "n" * 2**20]), CARD),
    "pixel size Infinity": (card(pixel_size_um=float("inf")), CARD),
    "pixel size of 400 digits": (card(pixel_size_um=10**400), CARD),
    "pixel size below zero": (card(pixel_size_um=-1), CARD),
    "pixel size in words": (card(pixel_size_um="1"), CARD),
    "pixel size true": (card(pixel_size_um=True), CARD),
    "pixel size of 1 light year": (card(pixel_size_um=1e22), CARD),
    "spread factor NaN": (card(spread_factor=float("nan")), CARD),
    "spread factor of 400 digits": (card(spread_factor=10**400), CARD),
    "lone surrogates on the card": (
        card_text(lambda text: text[:-1] + ',"licence":"\\ud800"}'),
        CARD,
    ),
    # its architecture
    "an unknown architecture key": (architecture(magic=1), ARCHITECTURE),
    "an unknown key of the U-Net": (architecture("unet", magic=1), ARCHITECTURE),
    "an unknown key of an autoencoder": (architecture("first_stages", magic=1), ARCHITECTURE),
    "no U-Net": (architecture(unet=None), ARCHITECTURE),
    "a U-Net that is a list": (architecture(unet=[1]), ARCHITECTURE),
    "no autoencoders": (architecture(first_stages=[]), ARCHITECTURE),
    "one autoencoder": (architecture(first_stages={"channels": [32]}), ARCHITECTURE),
    "widths of 10^12": (architecture("unet", channels=[10**12 * 32] * 3), ARCHITECTURE),
    "a million levels": (architecture("unet", channels=[32] * 10**6), ARCHITECTURE),
    "sixty levels of an autoencoder": (architecture("first_stages", channels=[32] * 60), NOT_OURS),
    "widths that are true": (architecture("unet", channels=[True] * 3), ARCHITECTURE),
    "widths in words": (architecture("unet", channels="32,32"), ARCHITECTURE),
    "widths of half a channel": (architecture("unet", channels=[32.5] * 3), ARCHITECTURE),
    "a codebook of 2^40": (architecture("first_stages", codebook=2**40), ARCHITECTURE),
    "a codebook of 1e30": (architecture("first_stages", codebook=1e30), ARCHITECTURE),
    "a billion image channels": (architecture("first_stages", image_channels=10**9), ARCHITECTURE),
    "2^62 latent channels": (
        lambda p: (
            architecture("first_stages", latent_channels=2**62)(p),
            architecture("unet", latent_channels=2**62)(p),
        ),
        ARCHITECTURE,
    ),
    "a time embedding of 8 billion": (
        architecture("unet", time_channels=8 * 10**9),
        ARCHITECTURE,
    ),
    "a gate of its own": (architecture(gate="eval"), ARCHITECTURE),
    "a share of two": (architecture(uni_share=2), ARCHITECTURE),
    "a share of NaN": (architecture(uni_share=float("nan")), CARD),
    # its numbers
    "a weight that is NaN": (weights(float("nan")), r"bad\.safetensors .*finite"),
    "a weight that is infinite": (weights(float("inf")), r"bad\.safetensors .*finite"),
}


INTERVALS = {"weights": [-2, 0.3, 0.5], "factor": 1, "count": 9, "unit": "sections",
             "truth": "image as taken", "fitted_on": ""}  # fmt: skip
WIDTHS = {name: INTERVALS[name] for name in INTERVALS if name != "weights"} | {
    "intensities": [0.1, 0.5], "half_widths": [0.1, 0.2]}  # fmt: skip
SAID: dict[str, dict[str, Any]] = {
    "trust that is a list": {"trust": [1]},
    "trust of no statistics": {"trust": {"version": VERSION, "windows": {}, "sections": {}}},
    "intervals that are a number": {"intervals": 1},
    "intervals of four weights": {"intervals": INTERVALS | {"weights": [0.0] * 4}},
    "intervals of infinite weights": {"intervals": INTERVALS | {"weights": [1e400, 0, 0]}},
    "intervals of weights in words": {"intervals": INTERVALS | {"weights": "abc"}},
    "intervals whose intensities fall": {"intervals": WIDTHS | {"intensities": [0.5, 0.2]}},
    "intervals without half widths": {"intervals": WIDTHS | {"half_widths": []}},
    "half widths in words": {"intervals": WIDTHS | {"half_widths": "abc"}},
    "half widths that are infinite": {"intervals": WIDTHS | {"half_widths": [0.1, 1e400]}},
    "an interval factor NaN": {"intervals": INTERVALS | {"factor": float("nan")}},
    "an interval factor of 400 digits": {"intervals": INTERVALS | {"factor": 10**400}},
    "intervals of infinitely many sections": {"intervals": INTERVALS | {"count": float("inf")}},
    "intervals of measures in a list": {"intervals": INTERVALS | {"measures": [1, 2]}},
    "a measure of another kind": {
        "intervals": INTERVALS
        | {"measures": {"l50": {"low": 0, "high": 1, "kind": "eval", "count": 9}}}
    },
}
"""What a card may say that is read when a section is predicted."""


def _predictions() -> None:
    for name, changes in SAID.items():

        @CASES.refused(f"predict with {name}", "what the model says of .* is damaged|card")
        def predict_it(folder: Path, changes: dict[str, Any] = changes) -> list[str]:
            card(**changes)(good(MODEL, folder, "bad.safetensors"))
            section = good(SECTION, folder).name
            names = ["--vessels-channel", "vessels", "--nuclei-channel", "nuclei"]
            return [
                "predict", section, "--model", "bad.safetensors", *names, "--steps", "1",
                "--out", "out.ome.zarr",
            ]  # fmt: skip


def _cases() -> None:
    for name, (spoil, says) in SPOILED.items():

        @CASES.refused(f"import {name}", says)
        def import_it(folder: Path, spoil: Spoil = spoil) -> list[str]:
            spoil(good(MODEL, folder, "bad.safetensors"))
            return ["models", "import", "bad.safetensors"]

        if "weight" in name or "numbers" in name:
            continue  # the list reads headers only

        @CASES.works(f"list beside {name}", lists_the_others)
        def list_it(folder: Path, spoil: Spoil = spoil) -> list[str]:
            (folder / "models").mkdir()
            good(MODEL, folder / "models")
            spoil(good(MODEL, folder / "models", "bad.safetensors"))
            return ["models", "list"]


def lists_the_others(folder: Path, text: str) -> None:
    """Assert that the sound models are listed, in plain lines."""
    lines = text.splitlines()
    assert any("tiny" in line and "1.0 µm/px" in line for line in lines), text[:600]
    assert all(line.isprintable() and len(line) < 500 for line in lines), text[:600]


_cases()
_predictions()
