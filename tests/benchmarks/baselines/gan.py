"""Conditional GAN in the manner of pix2pix (Isola et al. 2017, arXiv 1611.07004).

1. Generator: the same network as the regression U-Net (unet).
2. Discriminator: MONAI's PatchDiscriminator, which sees the inputs beside the image (condition).
3. Losses: least squares (Mao et al. 2017, arXiv 1611.04076) and 100 x L1, as in pix2pix.

Unlike pix2pix, no dropout: the generator is a function of its inputs (they report that theirs
hardly varies either).
"""

from __future__ import annotations

from typing import Any

import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F

from .unet import descend

L1_WEIGHT = 100.0
BETAS = (0.5, 0.999)


def build_discriminator(channels: int = 32) -> nn.Module:
    """Return a discriminator of 70 px patches: (b, 3, h, w) -> one score per patch."""
    net: nn.Module = PatchDiscriminator(2, channels=channels, in_channels=3, num_layers_d=3)
    return net


class Adversarial:
    """Generator `net`, discriminator and their optimizers."""

    def __init__(self, net: nn.Module, rate: float, bf16: bool) -> None:
        """Hold `net`; `rate` is the highest learning rate; `bf16` computes the layers in it."""
        self.net, self.rate, self.bf16 = net, rate, bf16
        self.discriminator = build_discriminator()
        self.optimizer = torch.optim.Adam(net.parameters(), lr=rate, betas=BETAS)
        self.critic = torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=BETAS)
        self.adversarial = PatchAdversarialLoss(criterion="least_squares")

    def update(self, inputs: Tensor, target: Tensor, share: float) -> dict[str, float]:
        """Make one step of both with `share` (0..1) of the rate; return the losses before it.

        Inputs (b, 2, h, w), target (b, 1, h, w), float32 in -1..1.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            predicted = self.net(inputs)
        predicted = predicted.float()
        critic_loss = self._critic_loss(inputs, target, predicted.detach())
        descend(self.critic, critic_loss, self.rate * share)
        absolute = F.l1_loss(predicted, target)
        fooling = self._score(inputs, predicted, real=True, for_discriminator=False)
        descend(self.optimizer, fooling + L1_WEIGHT * absolute, self.rate * share)
        return {
            "L1": absolute.item(),
            "generator": fooling.item(),
            "discriminator": critic_loss.item(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "net": self.net,
            "discriminator": self.discriminator,
            "optimizer": self.optimizer,
            "critic": self.critic,
        }

    def _critic_loss(self, inputs: Tensor, target: Tensor, predicted: Tensor) -> Tensor:
        real = self._score(inputs, target, real=True, for_discriminator=True)
        fake = self._score(inputs, predicted, real=False, for_discriminator=True)
        return (real + fake) / 2

    def _score(
        self, inputs: Tensor, image: Tensor, *, real: bool, for_discriminator: bool
    ) -> Tensor:
        """Return how far the discriminator is from calling the image real (or not real)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            scores = self.discriminator(torch.cat([inputs, image], dim=1))[-1]
        loss: Tensor = self.adversarial(
            scores.float(), target_is_real=real, for_discriminator=for_discriminator
        )
        return loss
