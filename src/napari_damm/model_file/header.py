"""The header of a model file, in pure Python: listing models needs no torch.

A `.safetensors` file is the length of a JSON header (8 bytes, little endian), the header, then
the numbers. Under `__metadata__` ours has one entry, `napari_damm`: the card, as JSON.

1. Read the header, and see that it describes exactly the bytes that follow, each once.
2. Read the card in it, and see that it has what everybody relies on.
3. `summary` puts a card into words.

The header is read from an open file, not by `safetensors.safe_open`: that opens the path itself, so
that a file which is replaced meanwhile would give the card of one, the weights of another and the
checksum of a third; and it takes headers of 100 MB.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from napari_damm.util.bounded_json import parse_json
from napari_damm.util.files import open_regular
from napari_damm.util.text import printable

FORMAT_VERSION = 1
CARD_KEY = "napari_damm"
LONGEST_HEADER = 16 * 2**20
LONGEST_NAME = 100
LARGEST_SPREAD = 1e6
MOST_DIMENSIONS = 8
LONGEST_PART = 300
"""Characters of each part of a summary."""
LINEAR = "linear"
"""Where a card keeps the scores of a linear model, beside those of the "mean" of its own."""
NO_BETTER = "does not beat a linear model of the same images"
CHANCE = "does not follow the imaged particles in its validation windows"
LEAST_R = 0.1
"""Correlation with the truth from which on maps follow it at all: 0 is chance."""
COARSEST_UM = 1e6
"""No microscope has pixels of a metre."""

ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "BOOL": 1},
    **{"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1},
}


class Entry(NamedTuple):
    """A tensor: its dtype and shape, and where its bytes are, counted from the header's end."""

    dtype: str
    shape: list[int]
    start: int
    end: int


class Header(NamedTuple):
    """The card, every tensor in the order of the file, and the bytes that said so."""

    card: dict[str, Any]
    tensors: dict[str, Entry]
    raw: bytes


def open_model(path: Path) -> BufferedReader:
    """Open a model file.

    Raises
    ------
    OSError
        If it does not exist, is no regular file or cannot be read.
    """
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such model file: {path}") from None


def read_header(stream: BufferedReader, path: Path) -> Header:
    """Read and check the header of an open model file; `path` is named in what is raised.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not one of our model files, is cut short, or has an unusable card.
    """
    raw, entries, size = _read_entries(stream, path)
    metadata = entries.pop("__metadata__", {})
    try:
        tensors = {name: _entry(values) for name, values in entries.items()}
    except (KeyError, TypeError, ValueError):
        raise ValueError(_foreign(path, "its header describes no tensors")) from None
    tensors = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)))
    end = 0
    for entry in tensors.values():
        if entry.start != end:
            raise ValueError(f"{path} is damaged (its tensors overlap or have gaps): get it again")
        end = entry.end
    if end != size:
        state = "cut short" if end > size else "longer than its header says"
        raise ValueError(
            f"{path} is {state} ({size} bytes of numbers, expected {end}): get it again"
        )
    if not isinstance(metadata, dict) or CARD_KEY not in metadata:
        raise ValueError(f"{path} is not a napari-damm model: its header has no card")
    try:
        card = parse_json(metadata[CARD_KEY])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has an unusable card: {error}") from None
    check_card(card, path)
    return Header(card, tensors, raw)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read a model file's card.

    Raises
    ------
    OSError, ValueError
        As `read_header`.
    """
    path = Path(path)
    with open_model(path) as stream:
        return read_header(stream, path).card


def card_and_sum(path: str | Path) -> tuple[dict[str, Any], str]:
    """Read a model file's card as `read_card` does, and the SHA-256 of that very file."""
    path = Path(path)
    with open_model(path) as stream:
        card = read_header(stream, path).card
        stream.seek(0)
        return card, hashlib.file_digest(stream, "sha256").hexdigest()


def _read_entries(stream: BufferedReader, path: Path) -> tuple[bytes, dict[str, Any], int]:
    """Parse the JSON header; also return its bytes, and how many follow it."""
    first = stream.read(8)
    if first[:2] == b"PK":
        raise ValueError(
            f"{path} is a PyTorch checkpoint: convert it with napari-damm models import"
        )
    length = int.from_bytes(first, "little")
    follows = os.fstat(stream.fileno()).st_size - 8 - length
    if len(first) < 8 or length > LONGEST_HEADER or follows < 0:
        raise ValueError(_foreign(path, "the length of its header is impossible"))
    text = stream.read(length)
    try:
        entries = parse_json(text, LONGEST_HEADER)
    except ValueError as error:
        raise ValueError(_foreign(path, f"its header is unusable, {error}")) from None
    if not isinstance(entries, dict):
        raise ValueError(_foreign(path, "its header is no JSON object"))
    return first + text, entries, follows


def _entry(values: Any) -> Entry:
    """Check what a header says of one tensor: numbers first, before they are multiplied."""
    dtype, shape, (start, end) = values["dtype"], values["shape"], values["data_offsets"]
    if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
        raise TypeError(f"a shape is a list of at most {MOST_DIMENSIONS} sizes")
    if not all(type(number) is int and number >= 0 for number in (*shape, start, end)):
        raise TypeError("sizes and offsets are whole numbers")
    if math.prod(shape) * ITEM_BYTES[dtype] != end - start:
        raise ValueError("a tensor must have as many bytes as its shape says")
    return Entry(dtype, shape, start, end)


def _foreign(path: Path, reason: str) -> str:
    return f"{path} is not a .safetensors file, or is cut short: {reason}"


def check_card(card: Any, path: Path) -> None:
    """Check what everybody relies on; `path` is named in what is raised.

    Raises
    ------
    ValueError
        If an entry is missing or unusable.
    """
    if not isinstance(card, Mapping):
        raise ValueError(f"{path} has an unusable card: it is no JSON object")
    version = card.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has card format {version!r:.40}, "
            f"this napari-damm reads format {FORMAT_VERSION}: update napari-damm"
        )
    modalities = card.get("modalities")
    if (
        not isinstance(modalities, list | tuple)
        or len({m for m in modalities if isinstance(m, str) and m}) != 3
        or len(modalities) != 3
        or any(len(modality) > LONGEST_NAME for modality in modalities)
    ):
        raise ValueError(
            f"{path} has an unusable card: modalities must be 3 names, got {modalities!r:.80}"
        )
    if not isinstance(card.get("architecture"), Mapping):
        raise ValueError(f"{path} has an unusable card: it lacks the architecture")
    um = card.get("pixel_size_um")
    if um is not None and not (_is_number(um) and 0 < um <= COARSEST_UM):
        raise ValueError(
            f"{path} has an unusable card: pixel_size_um must be above 0 (and at most "
            f"{COARSEST_UM:g}), got {um!r:.40}"
        )
    try:
        spread_factor(card)
    except ValueError as error:
        raise ValueError(f"{path} has an unusable card: {error}") from None


def spread_factor(card: Mapping[str, Any]) -> float:
    """Return what the standard deviation over samples is to be multiplied by; 1 if not stated.

    It was fitted on validation data, so that the mean plus and minus 1.645 standard deviations is
    a nominal 90 % interval.

    Raises
    ------
    ValueError
        If it is not a finite number above 0.
    """
    factor = card.get("spread_factor", 1.0)
    if not (_is_number(factor) and 0 < factor < LARGEST_SPREAD):
        raise ValueError(f"spread_factor must be a finite number above 0, got {factor!r:.40}")
    return float(factor)


def summary(card: Mapping[str, Any]) -> str:
    """Put a card into one line for people: name, modalities, pixel size, training data."""
    *given, target = (str(modality) for modality in card["modalities"])
    pixel_size = card.get("pixel_size_um")
    training = trained_on(card).get("description")
    parts = [
        str(card.get("name", "unnamed")),
        f"{' + '.join(given)} → {target}",
        f"{float(pixel_size)} µm/px" if pixel_size else "pixel size unknown",
        f"trained on {training}" if training else "training data unknown",
    ]
    if warning := warning_of(card):
        parts.insert(2, warning)  # before what may be cut
    return printable(" · ".join(_cut(part) for part in parts))


def trained_on(card: Mapping[str, Any]) -> dict[str, str]:
    """Return what a card says of its training data, as far as it does: `kind`, `description`."""
    data = card.get("training_data")
    known = data if isinstance(data, Mapping) else {"description": data}
    said = {"kind": known.get("kind"), "description": known.get("description") or known.get("kind")}
    return {name: printable(_cut(str(words))) for name, words in said.items() if words}


def _cut(part: str) -> str:
    return part if len(part) <= LONGEST_PART else f"{part[: LONGEST_PART - 4]} ..."


def warning_of(card: Mapping[str, Any]) -> str:
    """Return what a card says against its model, after "the model"; "" for nothing.

    A training whose three images do not belong together ends near chance, and so does the linear
    model beside it: to beat that one means nothing then.
    """
    found, _ = _correlations(card)
    if found is not None and found < LEAST_R:
        return CHANCE
    return NO_BETTER if loses_to_linear(card) else ""


def loses_to_linear(card: Mapping[str, Any]) -> bool:
    """Return whether a card says that its model is not better than the linear one, by r."""
    found, trivial = _correlations(card)
    return found is not None and trivial is not None and found <= trivial


def _correlations(card: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return r of a model and of the linear one, as far as its card knows both kinds of scores."""
    metrics = card.get("metrics")
    if not isinstance(metrics, Mapping):
        return None, None
    kinds = metrics.get("mean"), metrics.get(LINEAR)
    if not all(isinstance(scores, Mapping) for scores in kinds):
        return None, None
    own, linear = (scores.get("r") for scores in kinds if isinstance(scores, Mapping))
    return (own if _is_number(own) else None), (linear if _is_number(linear) else None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def first_few(names: Sequence[str]) -> str:
    """Name the first three, fit for one line whatever characters are in them."""
    some = ", ".join(ascii(name[:160])[1:-1] for name in names[:3])
    return f"{some}, ..." if len(names) > 3 else some
