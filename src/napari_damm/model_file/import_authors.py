"""Import a checkpoint made with the authors' training code.

1. Read the tensors of the Lightning `.ckpt` (`pickle_reader`: nothing in it is executed).
2. Read the architecture off their shapes.
3. Look up each of our weights under its name in the authors' network; refuse, by name, what is
   missing, unknown or of the wrong shape; fill our model.

The layout of the keys is a fact of the published network; the code here is our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.model_file import first_few, save_model
from napari_damm.model_file.pickle_opcodes import CheckpointError
from napari_damm.model_file.pickle_reader import read_with_sum
from napari_damm.model_file.weights import check_size
from napari_damm.util.text import count

if TYPE_CHECKING:
    import torch

    from napari_damm.model.damm import DAMM, DAMMConfig
    from napari_damm.model.unet import UNetConfig
    from napari_damm.model.vqgan import VQGANConfig

STAGES = {
    "primary": "latent_embedder_CD31",
    "secondary": "latent_embedder_DAPI",
    "target": "latent_embedder",
}
IGNORED = re.compile(r"(^|\.)discriminator\.|^noise_scheduler\.|\.unet_S\.time_embedder\.")

# From our names to theirs; each table is applied from top to bottom.
_FUSION = (
    (r"^(\d+)\.mask_uni\.", r"unet_S.mask_blocks.\1.mask_block."),
    (r"^(\d+)\.mask_multi\.", r"mask_blocks.\1.mask_block."),
    (r"^(\d+)\.attention\.squeeze\.", r"conv1_blocks.\1.channel_attn.fc.0."),
    (r"^(\d+)\.attention\.excite\.", r"conv1_blocks.\1.channel_attn.fc.2."),
    (r"^(\d+)\.project\.", r"conv1_blocks.\1.conv1_block.0."),
    (r"^(\d+)\.norm\.", r"conv1_blocks.\1.conv1_block.1."),
)
_ATTENTION = (
    (r"^query\.", "un_crs_attn.q."),
    (r"^key\.", "un_crs_attn.k."),
    (r"^value\.", "un_crs_attn.v."),
    (r"^confidence\.", "un_crs_attn.u.0."),
    (r"^project\.", "un_crs_attn.proj_out."),
    (r"^norm\.", "un_crs_attn.norm."),
)
_TIME = (
    (r"^expand\.", "time_embedder.time_emb.1."),
    (r"^mix\.", "time_embedder.time_emb.3."),
)
_RES_BLOCK = (
    (r"\.first\.unit\.", ".block_seq.0.basic_block."),
    (r"\.first\.skip\.", ".block_seq.0.conv_res."),
    (r"\.second\.unit\.", ".block_seq.1.basic_block."),
    (r"\.time\.", ".local_embedder.1."),
)
_BRANCH = (
    *_RES_BLOCK,
    (r"^input\.", "in_conv.conv."),
    (r"^encoder\.(\d+)\.conv\.", r"in_blocks.\1.down_op."),
    (r"^encoder\.(\d+)\.", r"in_blocks.\1.0."),
    (r"^middle\.0\.", "middle_block.0."),
    (r"^middle\.1\.", "middle_block.2."),
    (r"^decoder\.(\d+)\.block\.", r"out_blocks.\1.0."),
    (r"^decoder\.(\d+)\.up\.conv\.", r"out_blocks.\1.2.up_op."),
    (r"^output\.", "outc.conv.conv."),
)
_FIRST_STAGE = (
    *_RES_BLOCK,
    (r"^input\.", "inc."),
    (r"^down\.(\d+)\.0\.conv\.", r"encoders.\1.down_op.down_op."),
    (r"^down\.(\d+)\.1\.", r"encoders.\1.conv_block."),
    (r"^to_latent\.", "out_enc.conv."),
    (r"^quantizer\.codebook$", "quantizer.embedder.weight"),
    (r"^from_latent\.", "inc_dec."),
    (r"^up\.(\d+)\.0\.conv\.", r"decoders.\1.up_op.up_op."),
    (r"^up\.(\d+)\.1\.", r"decoders.\1.conv_block."),
    (r"^output\.", "outc.conv."),
    (r"^half_output\.", "outc_ver.0.conv."),
)
# Where each part of our model is found in theirs, and how its inside is renamed.
_PARTS = (
    *((f"first_stages.{role}.", f"{name}.vqvae.", _FIRST_STAGE) for role, name in STAGES.items()),
    ("unet.uni.", "noise_estimator.unet_S.", _BRANCH),
    ("unet.multi.", "noise_estimator.", _BRANCH),
    ("unet.fusions.", "noise_estimator.", _FUSION),
    ("unet.attention.", "noise_estimator.", _ATTENTION),
    ("unet.time.", "noise_estimator.", _TIME),
)


def import_authors_checkpoint(
    path: str | Path, out: str | Path | None = None, pixel_size_um: float | None = None
) -> DAMM:
    """Read a Lightning `.ckpt` of the authors' code as a `DAMM` in eval mode.

    Parameters
    ----------
    path
        The checkpoint.
    out
        Where to write it as a one-file model, if anywhere (`.safetensors`).
    pixel_size_um
        Pixel size of its training images; the checkpoint does not record it.

    Raises
    ------
    OSError
        If the file cannot be read, or `out` not be written.
    CheckpointError
        If it is no such checkpoint, or keys are missing, unknown or of the wrong shape.
    """
    path = Path(path)
    state, checksum = read_with_sum(path)
    try:
        model = from_state_dict(state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model.card.update(
        {
            "name": path.stem,
            "pixel_size_um": pixel_size_um,
            "training_data": {
                "kind": "unknown",
                "description": "unknown data (imported from a checkpoint of the authors' code)",
            },
            "intensity_reference": {"kind": "percentile", "low": 0.1, "high": 99.9},
            "imported_from": {"file": path.name, "sha256": checksum},
        }
    )
    if out is not None:
        save_model(model, out)
    return model


def from_state_dict(state: Mapping[str, torch.Tensor]) -> DAMM:
    """Build our model, in eval mode, from a state dict with the authors' key names.

    Raises
    ------
    CheckpointError
        If keys are missing, unknown or of the wrong shape: the message names them.
    """
    import torch

    from napari_damm.model.damm import DAMM

    state = {key: value for key, value in state.items() if not IGNORED.search(key)}
    with torch.device("meta"):  # shapes only: memory is taken when everything fits
        model = DAMM(infer_config(state))
    try:
        check_size(model)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint is too large: {error}") from None
    wanted = {authors_key(name): value.shape for name, value in model.state_dict().items()}
    problems = [
        *_say("missing key", [key for key in wanted if key not in state]),
        *_say("unknown key", [key for key in state if key not in wanted]),
        *_say(
            "misshapen key",
            [
                f"{key} (expected {list(wanted[key])}, got {list(value.shape)})"
                for key, value in state.items()
                if key in wanted and value.shape != wanted[key]
            ],
        ),
    ]
    if problems:
        raise CheckpointError(f"the checkpoint does not fit the network: {'; '.join(problems)}")
    ours = {
        name: state[authors_key(name)].detach().to(empty.dtype, copy=True)
        for name, empty in model.state_dict().items()
    }
    model.load_state_dict(ours, assign=True)
    return model.eval()


def authors_key(name: str) -> str:
    """Return the key in the authors' state dict for a key of ours."""
    for ours, theirs, rules in _PARTS:
        if name.startswith(ours):
            inside = name.removeprefix(ours)
            for pattern, replacement in rules:
                inside = re.sub(pattern, replacement, inside)
            return theirs + inside
    raise KeyError(name)


def infer_config(state: Mapping[str, torch.Tensor]) -> DAMMConfig:
    """Read the architecture off the shapes of a state dict with the authors' key names."""
    from napari_damm.model.damm import DAMMConfig

    try:
        primary, secondary, target = (_infer_stage(state, name) for name in STAGES.values())
        return DAMMConfig((primary, secondary, target), _infer_unet(state))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's shapes make no valid network: {error}") from None


def _infer_stage(state: Mapping[str, torch.Tensor], name: str) -> VQGANConfig:
    from napari_damm.model.vqgan import VQGANConfig

    first = _shape(state, f"{name}.vqvae.inc.block_seq.0.basic_block.conv.weight", 4)
    pattern = f"{name}.vqvae.encoders.{{}}.down_op.down_op.weight"
    deeper = [_shape(state, key, 4)[0] for key in _numbered(state, pattern)]
    codebook, latent = _shape(state, f"{name}.vqvae.quantizer.embedder.weight", 2)
    return VQGANConfig((first[0], *deeper), first[1], latent, codebook)


def _infer_unet(state: Mapping[str, torch.Tensor]) -> UNetConfig:
    from napari_damm.model.unet import UNetConfig

    first = _shape(state, "noise_estimator.in_conv.conv.weight", 4)
    # a level has three blocks: two ResBlocks and a strided convolution
    pattern = "noise_estimator.in_blocks.{}.0.block_seq.0.basic_block.conv.weight"
    deeper = [_shape(state, key, 4)[0] for key in _numbered(state, pattern, step=3)]
    time = _shape(state, "noise_estimator.time_embedder.time_emb.3.weight", 2)[0]
    latent = _shape(state, "noise_estimator.outc.conv.conv.weight", 4)[0]
    return UNetConfig((first[0], *deeper), time, latent)


def _numbered(state: Mapping[str, torch.Tensor], pattern: str, step: int = 1) -> Iterator[str]:
    i = 0
    while (key := pattern.format(i)) in state:
        yield key
        i += step


def _shape(state: Mapping[str, torch.Tensor], key: str, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise CheckpointError(f"it lacks the key {key}: is it a DAMM-Diffusion model?")
    shape = tuple(state[key].shape)
    if len(shape) != ndim:
        raise CheckpointError(f"{key} must have {ndim} dimensions, got shape {list(shape)}")
    return shape


def _say(what: str, items: Sequence[str]) -> Iterator[str]:
    """Name the first of what is wrong, if anything is."""
    if items:
        yield f"{count(len(items), what)}: {first_few(items)}"
