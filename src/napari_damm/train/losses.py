"""The training losses of the noise estimator.

1. joint: (L_uni + L_multi) / 2, with plain cross-attention.
2. gated: per sample L_uni where the confidence is below gamma, else (L_uni + L_multi) / 2,
   plus a small term that teaches the confidence which branch is the better one.
3. planted: where it is known which cells mislead. The multi-modal branch does not learn from
   them, and the confidence learns to find them, cell by cell.

Source of 1 and 2: DAMM-Diffusion (arXiv 2503.09491), section 3.3, where L is the mean absolute
error. A mean squared error makes the denoiser the mean of what is possible, which the sampler
assumes; an absolute one makes it the median, and samples too dark where light is rare.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.model.gate import GAMMA
from napari_damm.model.unet import BranchOutputs

CONFIDENCE_WEIGHT = 1e-4


class GatedLoss(NamedTuple):
    """`total` = mean over samples of the gated L1 + weight x `confidence_term`; `label` (b,)."""

    total: Tensor
    confidence_term: Tensor
    label: Tensor


def branch_errors(
    outputs: BranchOutputs, eps: Tensor, squared: bool = False
) -> tuple[Tensor, Tensor]:
    """L1 (or L2) of each branch per sample against eps (b, c, h, w): L_uni (b,), L_multi (b,)."""
    uni, multi = (_distance(each, eps, squared) for each in outputs[:2])
    return uni.flatten(1).mean(dim=1), multi.flatten(1).mean(dim=1)


def joint_loss(
    outputs: BranchOutputs, eps: Tensor, weight: Tensor | None = None, squared: bool = False
) -> Tensor:
    """(L_uni + L_multi) / 2, averaged over the batch; `weight` (b,) multiplies each sample."""
    uni, multi = branch_errors(outputs, eps, squared)
    return _weighted((uni + multi) / 2, weight)


class PlantedLoss(NamedTuple):
    """`total` = error of the noise + weight x `confidence_term`."""

    total: Tensor
    confidence_term: Tensor


def planted_loss(
    outputs: BranchOutputs,
    eps: Tensor,
    planted: Tensor,
    divergence_weight: float,
    weight: Tensor | None = None,
    squared: bool = False,
) -> PlantedLoss:
    """Loss where it is known which share of each latent pixel misleads, `planted` (b, h, w).

    The error is (L_uni + L_multi) / 2, L_multi without the cells of which half or more mislead;
    confidence_term = BCE(u, 1 - share of the cell that misleads), the mean over cells.
    """
    uni, multi = (_distance(each, eps, squared) for each in outputs[:2])
    u = outputs.confidence
    share = F.adaptive_avg_pool2d(planted[:, None], (u.shape[1], u.shape[2]))
    agrees = F.interpolate((share < 0.5).to(multi.dtype), planted.shape[1:])
    error = (uni.flatten(1).mean(dim=1) + (multi * agrees).flatten(1).mean(dim=1)) / 2
    term = F.binary_cross_entropy(u, 1 - share[:, 0])
    return PlantedLoss(_weighted(error, weight) + divergence_weight * term, term)


def sound(confidence: Tensor) -> Tensor:
    """Return confidences, 0.5 where one is no number: on a card the gate's error ends the program.

    Whoever calls sees to it that the loss is no number then.
    """
    return torch.where(torch.isnan(confidence), 0.5, confidence)


def gated_loss(
    outputs: BranchOutputs,
    eps: Tensor,
    gamma: float = GAMMA,
    confidence_weight: float = CONFIDENCE_WEIGHT,
    weight: Tensor | None = None,
    squared: bool = False,
) -> GatedLoss:
    """Loss of the gated phase.

    With c = mean confidence per sample and label = 1 where L_multi <= L_uni:
    confidence_term = 0.5 BCE(c, label) + mean((c - gamma)^2), with gradient through c.
    `weight` (b,) multiplies the noise error of each sample.
    """
    uni, multi = branch_errors(outputs, eps)
    c = outputs.confidence.flatten(1).mean(dim=1)
    label = (multi <= uni).to(c.dtype).detach()
    uni, multi = (uni, multi) if not squared else branch_errors(outputs, eps, squared)
    noise = _weighted(torch.where(c >= gamma, (uni + multi) / 2, uni), weight)
    term = 0.5 * F.binary_cross_entropy(c, label) + (c - gamma).square().mean()
    return GatedLoss(noise + confidence_weight * term, term, label)


def _distance(given: Tensor, wanted: Tensor, squared: bool) -> Tensor:
    return (given - wanted).square() if squared else (given - wanted).abs()


def _weighted(errors: Tensor, weight: Tensor | None) -> Tensor:
    return errors.mean() if weight is None else (errors * weight).mean()
