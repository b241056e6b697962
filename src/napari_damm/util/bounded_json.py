"""JSON that others may have written: read within bounds, or refused with a reason.

1. Its length is bounded before it is parsed.
2. Numbers are finite and fit into 64 bits: what multiplies them later cannot overflow or hang.
3. An object names each key once (of two, another reader might take the other).
4. It is no deeper than people nest things, and its text can be written as UTF-8.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from napari_damm.util.files import open_regular

MOST_BYTES = 16 * 2**20
DEEPEST = 64
_LEAST, _MOST = -(2**63), 2**64  # what 64 bits hold, with or without a sign


def parse_json(content: bytes | str, most_bytes: int = MOST_BYTES) -> Any:
    """Return the value in JSON text.

    Raises
    ------
    ValueError
        If it is no JSON or leaves the bounds; the message is a clause, as "it is not JSON".
    """
    if len(content) > most_bytes:
        raise ValueError(f"it is longer than {most_bytes} bytes")
    try:
        text = content if isinstance(content, str) else content.decode()
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from None
    except UnicodeDecodeError:
        raise ValueError("it is not JSON (no UTF-8)") from None
    except RecursionError:
        raise ValueError(_DEEP) from None
    _check_depth_and_text(value)
    return value


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        As `parse_json`, naming the file.
    """
    with open_regular(path) as stream:
        content = stream.read(most_bytes + 1)
    try:
        return parse_json(content, most_bytes)
    except ValueError as error:
        raise ValueError(f"{path} is unusable: {error}") from None


_DEEP = f"it is nested deeper than {DEEPEST}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the entry {twice[:80]!a} twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"it holds the number {text}")


def _int(text: str) -> int:
    number = int(text) if len(text) <= 20 else _MOST
    if not _LEAST <= number < _MOST:
        raise ValueError(f"it holds the number {text[:20]}... of {len(text)} digits")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds the number {text[:40]}")
    return number


def _check_depth_and_text(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii():
                try:
                    item.encode()
                except UnicodeEncodeError:
                    raise ValueError(f"it holds text that is none ({item[:40]!a})") from None
        if not below:
            return
        level = below
    raise ValueError(_DEEP)
