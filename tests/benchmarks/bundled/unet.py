"""The regression U-Net of the baselines, trained on the same sections and the same device."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from baselines.train import EMA_DECAY
from baselines.unet import FEATURES, Regression, build_unet, descend
from baselines.weights import save_network
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from .learner import half
from .sections import Sections
from .training import RATE, STATISTICS_BATCHES, rate_at

WINDOWS = 32


def train_unet(sections: Sections, minutes: float, out: Path, generator: torch.Generator) -> int:
    """Train for so long, and write it; return the steps made."""
    learner = Regression(build_unet().to(sections.device).train(), RATE, bf16=True)
    average = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(learner.net, multi_avg_fn=average)
    start, step, seconds = time.monotonic(), 0, 60 * minutes

    def batch() -> tuple[Tensor, Tensor]:
        images, _ = sections.windows(WINDOWS, generator)
        return images[:, :2], images[:, 2:]

    while (now := time.monotonic() - start) < seconds:
        sections.take()
        inputs, target = batch()
        with half(sections.device):
            made = learner.net(inputs)
        made = made.float()
        loss = F.l1_loss(made, target) + learner.dissimilarity(made, target) / 2
        descend(learner.optimizer, loss, RATE * rate_at(now / seconds, step))
        mean.update_parameters(learner.net)
        step += 1
    update_bn((batch()[0] for _ in range(STATISTICS_BATCHES)), mean)
    header = {"features": FEATURES, "steps": step, "windows": WINDOWS, "minutes": minutes}
    save_network(mean.module.half().cpu(), out, header)
    return step
