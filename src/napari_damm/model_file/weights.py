"""A model's weights: into a file, and back.

1. Saving rounds them to float16; BatchNorm statistics and codebooks stay float32.
2. Reading compares the header's tensors with the architecture on the card before it takes any
   memory, then fills the model in float32.
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
    check_card,
    first_few,
    read_header,
)
from napari_damm.util.files import written_whole

if TYPE_CHECKING:
    import torch

    from napari_damm.model.damm import DAMM

SUFFIX = ".safetensors"
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
    """Read a model file onto the CPU, checking it against its card first."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card, shapes = read_header(path)
    model = _empty_model(path, card)
    _check_tensors(path, shapes, model.state_dict())
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): get the file again") from None
    # copies: the file is only mapped into memory, and may be replaced or removed
    state = {
        name: tensors[name].to(empty.dtype, copy=True) for name, empty in model.state_dict().items()
    }
    model.load_state_dict(state, assign=True)
    return model.eval()


def _empty_model(path: Path, card: Mapping[str, Any]) -> DAMM:
    """Build the card's architecture without memory for its weights."""
    import torch

    from napari_damm.model.damm import DAMM, DAMMConfig

    try:
        with torch.device("meta"):
            return DAMM(DAMMConfig.from_dict(card["architecture"]), card)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise ValueError(f"{path} has an invalid architecture on its card: {reason}") from None


def _check_tensors(
    path: Path, shapes: Mapping[str, tuple[str, list[int]]], wanted: Mapping[str, torch.Tensor]
) -> None:
    """Compare the header's (dtype, shape) of each tensor with the architecture's."""
    missing = [name for name in wanted if name not in shapes]
    extra = [name for name in shapes if name not in wanted]
    wrong = [
        f"{name} ({dtype} {shape}, expected {list(wanted[name].shape)})"
        for name, (dtype, shape) in shapes.items()
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
