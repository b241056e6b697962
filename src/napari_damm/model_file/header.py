"""The header of a model file, in pure Python: listing models needs no torch.

A `.safetensors` file is the length of a JSON header (8 bytes, little endian), the header, then
the numbers. Under `__metadata__` ours has one entry, `napari_damm`: the card, as JSON.

1. Read the header, and see that it describes exactly the bytes that follow.
2. Read the card in it, and see that it has what everybody relies on.
3. `summary` puts a card into words.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FORMAT_VERSION = 1
CARD_KEY = "napari_damm"
LONGEST_HEADER = 16 * 2**20


class Header(NamedTuple):
    """The card, and (dtype, shape) of every tensor."""

    card: dict[str, Any]
    tensors: dict[str, tuple[str, list[int]]]


def read_header(path: Path) -> Header:
    """Read and check a model file's header.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not one of our model files, is cut short, or has an unusable card.
    """
    entries, size = _read_entries(path)
    metadata = entries.pop("__metadata__", {})
    try:
        tensors = {
            name: (str(e["dtype"]), [int(n) for n in e["shape"]]) for name, e in entries.items()
        }
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(_foreign(path, "its header describes no tensors")) from None
    if end != size:
        state = "cut short" if end > size else "longer than its header says"
        raise ValueError(
            f"{path} is {state} ({size} bytes of numbers, expected {end}): get it again"
        )
    if not isinstance(metadata, dict) or CARD_KEY not in metadata:
        raise ValueError(f"{path} is not a napari-damm model: its header has no card")
    try:
        card = json.loads(metadata[CARD_KEY])
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"{path} is not a napari-damm model: its card is not JSON") from None
    check_card(card, path)
    return Header(card, tensors)


def read_card(path: str | Path) -> dict[str, Any]:
    """Read a model file's card.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not one of our model files, is cut short, or has an unusable card.
    """
    return read_header(Path(path)).card


def _read_entries(path: Path) -> tuple[dict[str, Any], int]:
    """Parse the JSON header; also return how many bytes follow it."""
    if not path.exists():
        raise FileNotFoundError(f"no such model file: {path}")
    with path.open("rb") as stream:
        first = stream.read(8)
        if first[:2] == b"PK":
            raise ValueError(
                f"{path} is a PyTorch checkpoint: convert it with napari-damm models import"
            )
        length = int.from_bytes(first, "little")
        follows = os.fstat(stream.fileno()).st_size - 8 - length
        if len(first) < 8 or length > LONGEST_HEADER or follows < 0:
            raise ValueError(_foreign(path, "the length of its header is impossible"))
        try:
            entries = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            raise ValueError(_foreign(path, "its header is not JSON")) from None
    if not isinstance(entries, dict):
        raise ValueError(_foreign(path, "its header is no JSON object"))
    return entries, follows


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
    ):
        raise ValueError(
            f"{path} has an unusable card: modalities must be 3 names, got {modalities!r:.80}"
        )
    if not isinstance(card.get("architecture"), Mapping):
        raise ValueError(f"{path} has an unusable card: it lacks the architecture")
    um = card.get("pixel_size_um")
    if um is not None and not (_is_number(um) and math.isfinite(um) and um > 0):
        raise ValueError(
            f"{path} has an unusable card: pixel_size_um must be above 0, got {um!r:.40}"
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
    if not (_is_number(factor) and math.isfinite(factor) and factor > 0):
        raise ValueError(f"spread_factor must be a finite number above 0, got {factor!r:.40}")
    return float(factor)


def summary(card: Mapping[str, Any]) -> str:
    """Put a card into one line for people: name, modalities, pixel size, training data."""
    *given, target = (str(modality) for modality in card["modalities"])
    pixel_size = card.get("pixel_size_um")
    training = card.get("training_data")
    if isinstance(training, Mapping):
        training = training.get("description") or training.get("kind")
    parts = [
        str(card.get("name", "unnamed")),
        f"{' + '.join(given)} → {target}",
        f"{float(pixel_size)} µm/px" if pixel_size else "pixel size unknown",
        f"trained on {training}" if training else "training data unknown",
    ]
    return " · ".join(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def first_few(names: Sequence[str]) -> str:
    """Name the first three, fit for one line whatever characters are in them."""
    some = ", ".join(ascii(name[:160])[1:-1] for name in names[:3])
    return f"{some}, ..." if len(names) > 3 else some
