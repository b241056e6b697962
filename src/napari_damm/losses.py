"""The two training losses of the noise estimator, one per phase.

1. joint: (L_uni + L_multi) / 2, with plain cross-attention.
2. gated: per sample L_uni where the confidence is below gamma, else (L_uni + L_multi) / 2,
   plus a small term that teaches the confidence which branch is the better one.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.3; L is the mean absolute error.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.model.damm import GAMMA
from napari_damm.model.unet import BranchOutputs

CONFIDENCE_WEIGHT = 1e-4


class GatedLoss(NamedTuple):
    """`total` = mean over samples of the gated L1 + weight x `confidence_term`; `label` (b,)."""

    total: Tensor
    confidence_term: Tensor
    label: Tensor


def branch_errors(outputs: BranchOutputs, eps: Tensor) -> tuple[Tensor, Tensor]:
    """L1 of each branch per sample against eps (b, c, h, w): L_uni (b,), L_multi (b,)."""
    uni = (outputs.eps_uni - eps).abs().flatten(1).mean(dim=1)
    multi = (outputs.eps_multi - eps).abs().flatten(1).mean(dim=1)
    return uni, multi


def joint_loss(outputs: BranchOutputs, eps: Tensor, weight: Tensor | None = None) -> Tensor:
    """(L_uni + L_multi) / 2, averaged over the batch; `weight` (b,) multiplies each sample."""
    uni, multi = branch_errors(outputs, eps)
    return _weighted((uni + multi) / 2, weight)


def gated_loss(
    outputs: BranchOutputs,
    eps: Tensor,
    gamma: float = GAMMA,
    confidence_weight: float = CONFIDENCE_WEIGHT,
    weight: Tensor | None = None,
) -> GatedLoss:
    """Loss of the gated phase.

    With c = mean confidence per sample and label = 1 where L_multi <= L_uni:
    confidence_term = 0.5 BCE(c, label) + mean((c - gamma)^2), with gradient through c.
    `weight` (b,) multiplies the noise error of each sample.
    """
    uni, multi = branch_errors(outputs, eps)
    c = outputs.confidence.flatten(1).mean(dim=1)
    label = (multi <= uni).to(c.dtype).detach()
    noise = _weighted(torch.where(c >= gamma, (uni + multi) / 2, uni), weight)
    term = 0.5 * F.binary_cross_entropy(c, label) + (c - gamma).square().mean()
    return GatedLoss(noise + confidence_weight * term, term, label)


def _weighted(errors: Tensor, weight: Tensor | None) -> Tensor:
    return errors.mean() if weight is None else (errors * weight).mean()
