"""A model's weights: into a file, and back.

1. Saving rounds them to float16; BatchNorm statistics and codebooks stay float32.
2. Reading compares the header's tensors with the architecture on the card before it takes any
   memory, then fills the model in float32. The checksum is that of the bytes that were read,
   whatever becomes of the file meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.model_file.header import (
    CARD_KEY,
    FORMAT_VERSION,
    Entry,
    check_card,
    first_few,
    open_model,
    read_header,
)
from napari_damm.util.files import written_whole
from napari_damm.util.text import printable

if TYPE_CHECKING:
    import torch

    from napari_damm.model.damm import DAMM

SUFFIX = ".safetensors"
MOST_WEIGHTS = 2**29
"""The paper's sizes have 0.16 billion; more than this would take over 2 GB."""
_STORED = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"},
}
_KEPT_FLOAT32 = ("running_mean", "running_var", "codebook")


def save_model(model: DAMM, path: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write a model with its card, atomically: a complete file or none.

    Parameters
    ----------
    model
        The model. Its weights are rounded to float16.
    path
        The file, ending in `.safetensors`; one that exists is replaced.
    card
        Entries that go over those of `model.card`.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    ValueError
        If the path or the card is unusable, or a weight is not finite.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"a model file must end in {SUFFIX}, got {path}")
    full = {"name": path.stem, **model.card, **(card or {})}
    full |= {"format_version": FORMAT_VERSION, "architecture": model.config.to_dict()}
    full.pop("sha256", None)  # of the file that the model was loaded from
    check_card(full, path)
    try:
        text = json.dumps(full, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card must be plain JSON values: {error}") from None
    tensors = {name: _as_stored(name, value) for name, value in model.state_dict().items()}
    with written_whole(path) as stream:
        stream.write(save(tensors, {CARD_KEY: text}))
    return path


def content_hash(model: DAMM) -> str:
    """Return the SHA-256 of the weights of a model that came from no file."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _as_stored(name: str, value: torch.Tensor) -> torch.Tensor:
    import torch

    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value
    stored = value.float() if name.endswith(_KEPT_FLOAT32) else value.half()
    if not bool(torch.isfinite(stored).all()):
        raise ValueError(f"the weights {name} are not finite (in {stored.dtype}): train it again")
    return stored


def read_model(path: Path) -> DAMM:
    """Read a model file onto the CPU; `card["sha256"]` is the checksum of the bytes read.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no model file, does not fit its card, or holds weights that are not finite.
    """
    with open_model(path) as stream:
        card, entries, raw = read_header(stream, path)
        model = _empty_model(path, card)
        wanted = model.state_dict()
        _check_tensors(path, entries, wanted)
        digest = hashlib.sha256(raw)
        state = {}
        for name, entry in entries.items():  # in the order of the file
            data = bytearray(entry.end - entry.start)
            if stream.readinto(data) != len(data):
                raise ValueError(f"{path} was cut short while it was read: get it again")
            digest.update(data)
            state[name] = _tensor(path, name, entry, data, wanted[name].dtype)
    model.load_state_dict(state, assign=True)
    model.card["sha256"] = digest.hexdigest()
    return model.eval()


def _tensor(
    path: Path, name: str, entry: Entry, data: bytearray, dtype: torch.dtype
) -> torch.Tensor:
    """Return stored numbers as the network's; one that is not finite would spread over a map."""
    import torch

    stored: torch.dtype = getattr(torch, _STORED[entry.dtype])
    flat = torch.frombuffer(data, dtype=stored) if data else torch.empty(0, dtype=stored)
    tensor = flat.reshape(entry.shape).to(dtype)
    if dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{path} cannot be used: its weights {name} are not finite numbers")
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise ValueError(f"{path} cannot be used: its variances {name} are below 0")
    return tensor


def _empty_model(path: Path, card: Mapping[str, Any]) -> DAMM:
    """Build the card's architecture without memory for its weights."""
    import torch

    from napari_damm.model.damm import DAMM, DAMMConfig

    try:
        with torch.device("meta"):
            model = DAMM(DAMMConfig.from_dict(card["architecture"]), card)
        check_size(model)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise ValueError(
            f"{path} has an invalid architecture on its card: {printable(reason[:300])}"
        ) from None
    return model


def check_size(model: DAMM) -> None:
    """Refuse a network without memory yet that would take too much.

    Raises
    ------
    ValueError
        If it has more than `MOST_WEIGHTS`.
    """
    weights = sum(value.numel() for value in model.state_dict().values())
    if weights > MOST_WEIGHTS:
        raise ValueError(f"it has {weights} weights, more than {MOST_WEIGHTS}")


def _check_tensors(
    path: Path, entries: Mapping[str, Entry], wanted: Mapping[str, torch.Tensor]
) -> None:
    """Compare the header's (dtype, shape) of each tensor with the architecture's."""
    missing = [name for name in wanted if name not in entries]
    extra = [name for name in entries if name not in wanted]
    wrong = [
        f"{name} ({dtype} {shape}, expected {list(wanted[name].shape)})"
        for name, (dtype, shape, *_) in entries.items()
        if name in wanted
        and (
            shape != list(wanted[name].shape)
            or (dtype in {"F16", "BF16", "F32", "F64"}) != wanted[name].is_floating_point()
        )
    ]
    for what, names in (("lacks", missing), ("has unknown", extra), ("has misshapen", wrong)):
        if names:
            raise ValueError(
                f"{path} does not fit its card: it {what} tensors ({len(names)}): "
                f"{first_few(names)}"
            )
