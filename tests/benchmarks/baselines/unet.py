"""Regression U-Net: vessels and nuclei in, nanoparticles out, in one pass.

1. The network: MONAI's BasicUNet, as large as our noise estimator. It is also the GAN's generator.
2. The loss, on images in -1..1: L1 + (1 - SSIM) / 2, so that it is trained for what it is judged
   by (Zhao et al. 2017, arXiv 1511.08861).
"""

from __future__ import annotations

from typing import Any

import torch
from monai.losses.ssim_loss import SSIMLoss
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = (24, 48, 128, 256, 448, 24)
"""Channels per level, finest first, and of the last layer: 6.8 M parameters."""
DEPTH = 16
"""Sides of the images must be multiples of this, px."""


def build_unet(features: tuple[int, ...] = FEATURES) -> nn.Module:
    """Return the network with random weights: (b, 2, h, w) -> (b, 1, h, w), -1..1.

    Batch norm: instance norm makes the answer depend on what else is in the picture (0.2 to
    0.5 dB worse after 300 steps).
    """
    net: nn.Module = BasicUNet(2, in_channels=2, out_channels=1, features=features, norm="batch")
    return net


class Regression:
    """The U-Net and its optimizer."""

    def __init__(self, net: nn.Module, rate: float, bf16: bool) -> None:
        """Hold `net`; `rate` is the highest learning rate; `bf16` computes the layers in it."""
        self.net, self.rate, self.bf16 = net, rate, bf16
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
        self.dissimilarity = SSIMLoss(spatial_dims=2, data_range=2.0)

    def update(self, inputs: Tensor, target: Tensor, share: float) -> dict[str, float]:
        """Make one step with `share` (0..1) of the rate; return the losses before it.

        Inputs (b, 2, h, w), target (b, 1, h, w), float32 in -1..1.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            predicted = self.net(inputs)
        predicted = predicted.float()
        absolute = F.l1_loss(predicted, target)
        dissimilar = self.dissimilarity(predicted, target)
        descend(self.optimizer, absolute + dissimilar / 2, self.rate * share)
        return {"L1": absolute.item(), "1 - SSIM": dissimilar.item()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """Make one step along the gradient of `loss`, with this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
