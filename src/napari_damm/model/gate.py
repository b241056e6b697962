"""The gate between the two branches: which of them denoises a window, or a cell of it.

1. `choose_multi` is DAMMP: the multi-modal branch where the confidence reaches gamma, by the mean
   of a window (the paper) or cell by cell.
2. `mix_branches` runs only the decoders that are needed, and puts their outputs together; `mixed`
   chooses between outputs that are there, and asks the host for nothing.

Source: DAMM-Diffusion (arXiv 2503.09491).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from napari_damm.model.detail import BACKGROUND
from napari_damm.model.unet import BranchOutputs

GAMMA = 0.5
GATES = ("window", "cell")


class Gated(NamedTuple):
    """`eps` (b, c, h, w) of the branches used, `multi` (b, th, tw) bool, `confidence` alike."""

    eps: Tensor
    multi: Tensor
    confidence: Tensor


def uses_multi(confidence: Tensor, gamma: float) -> Tensor:
    """DAMMP's decision per window: mean of u (b, h, w) >= gamma, as (b,) bool."""
    return confidence.flatten(1).mean(dim=1) >= gamma


def choose_multi(confidence: Tensor, gamma: float, gate: str) -> Tensor:
    """Return where the multi-modal branch is used, (b, th, tw) bool, for u of the same shape.

    By "window" the mean of u decides for all its cells, by "cell" each cell's own.
    """
    if gate == "cell":
        return confidence >= gamma
    return uses_multi(confidence, gamma)[:, None, None].expand(confidence.shape)


def mix_branches(
    multi: Tensor,
    decode_multi: Callable[[Tensor], Tensor],
    decode_uni: Callable[[Tensor], Tensor],
    like: Tensor,
    uni_share: float = 1.0,
) -> Tensor:
    """Return (b, c, h, w) as `like`: each cell of `multi` (b, th, tw) from the branch it needs.

    A decoder is called with the positions (n,) of the windows in which any cell needs it. With
    `uni_share` below 1 cells that are not multi-modal get so much of the uni-modal branch, the
    rest of the other.
    """
    mixed = torch.empty_like(like)
    everywhere = multi.flatten(1).all(dim=1)
    wanted = multi.flatten(1).any(dim=1) if uni_share == 1 else torch.ones_like(everywhere)
    rows = wanted.nonzero().flatten()
    if len(rows):
        mixed[rows] = decode_multi(rows).to(mixed.dtype)
    rows = (~everywhere).nonzero().flatten()
    if len(rows):
        height, width = like.shape[2] // multi.shape[1], like.shape[3] // multi.shape[2]
        fine = multi[rows].repeat_interleave(height, 1).repeat_interleave(width, 2)[:, None]
        uni = decode_uni(rows).to(mixed.dtype)
        if uni_share != 1:
            uni = uni_share * uni + (1 - uni_share) * mixed[rows]
        mixed[rows] = torch.where(fine, mixed[rows], uni)
    return mixed


def mixed(multi: Tensor, eps_multi: Tensor, eps_uni: Tensor, uni_share: float = 1.0) -> Tensor:
    """Return what `mix_branches` does, of both branches' outputs (b, c, h, w)."""
    uni = eps_uni if uni_share == 1 else uni_share * eps_uni + (1 - uni_share) * eps_multi
    return torch.where(_on_pixels(multi, eps_multi), eps_multi, uni)


def _on_pixels(multi: Tensor, image: Tensor) -> Tensor:
    """Spread (b, th, tw) over the pixels of an image (b, c, h, w): (b, 1, h, w)."""
    (b, rows, cols), (h, w) = multi.shape, image.shape[2:]
    spread = multi[:, :, None, :, None].expand(b, rows, h // rows, cols, w // cols)
    return spread.reshape(b, 1, h, w)


def where_multi(image: Tensor, multi: Tensor) -> Tensor:
    """Return the secondary image (b, c, h, w) where `multi` (b, th, tw), background elsewhere.

    What the uni-modal branch draws must not depend on it.
    """
    return torch.where(_on_pixels(multi, image), image, torch.full_like(image, BACKGROUND))


def select_branch(outputs: BranchOutputs, gamma: float = GAMMA) -> tuple[Tensor, Tensor]:
    """DAMMP: the noise (b, c, h, w) to use and whether it is the multi-modal one (b,) bool."""
    multi = uses_multi(outputs.confidence, gamma)
    return torch.where(multi[:, None, None, None], outputs.eps_multi, outputs.eps_uni), multi
