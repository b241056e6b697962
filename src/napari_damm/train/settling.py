"""Statistics of what normalises over batches, taken anew before a model is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Crops
from napari_damm.train.expected import UNI_EVERY, encode_crops, expected_errors


@contextmanager
def statistics_anew(module: nn.Module) -> Iterator[list[nn.BatchNorm2d]]:
    """Give what normalises over batches the mean statistics of all that is computed inside."""
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    yield norms
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


@torch.no_grad()
def settle_statistics(model: DAMM, crops: Iterable[Crops]) -> None:
    """Give the detail the statistics that its weights make of these crops.

    Averaged weights never saw a batch: what was counted on the way belongs to others.
    """
    with statistics_anew(model) as norms:
        for k, each in enumerate(crops if norms else ()):
            expected_errors(model, each, encode_crops(model, each), k * UNI_EVERY)
