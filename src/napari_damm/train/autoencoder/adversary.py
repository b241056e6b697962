"""The patch discriminator's part in an autoencoder's training.

1. It learns to tell images from reconstructions: hinge loss.
2. The autoencoder is rewarded for deceiving it, with such a weight that at the decoder's last
   layer both the reward and the reconstruction loss pull alike.

Source: VQGAN (arXiv 2012.09841), equations 5 to 7.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.model.discriminator import PatchDiscriminator
from napari_damm.train.state import TrainState

BETAS = (0.5, 0.9)
"""Decay of the discriminator's moments, as in the authors' code of VQGAN: it must follow fast."""
RATIO_DELTA, RATIO_LIMIT = 1e-4, 1e4


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Discriminator's loss of its scores: (mean max(0, 1 - real) + mean max(0, 1 + fake)) / 2."""
    loss: Tensor = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    return loss


def ratio_weight(reconstruction: Tensor, deception: Tensor, last_layer: Tensor) -> Tensor:
    """Weight of the deception loss: |grad of reconstruction| / (|grad of deception| + 1e-4).

    Gradients are those of the last layer; the weight is at most 1e4. Equation 7; delta and limit
    as in the authors' code (the paper's text has a delta of 1e-6).
    """
    (wanted,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (pull,) = torch.autograd.grad(deception, last_layer, retain_graph=True)
    ratio: Tensor = wanted.norm() / (pull.norm() + RATIO_DELTA)
    return ratio.clamp(0, RATIO_LIMIT).detach()


class Adversary:
    """A discriminator with its own training state; never part of a saved model."""

    def __init__(self, image_channels: int, learning_rate: float, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            discriminator = PatchDiscriminator(image_channels).to(device)
        self.state = TrainState(discriminator, learning_rate, weight_decay=0.0, betas=BETAS)

    def reward(self, loss: Tensor, reconstruction: Tensor, last_layer: Tensor) -> Tensor:
        """Return the weighted deception loss of a reconstruction (b, c, h, w), to add to `loss`."""
        deception: Tensor = -self.state.module(reconstruction).mean()
        return ratio_weight(loss, deception, last_layer) * deception

    def learn(self, image: Tensor, reconstruction: Tensor, learning_rate: float) -> None:
        """Take a step towards telling `image` from `reconstruction` (b, c, h, w)."""
        judge = self.state.module
        loss = hinge_loss(judge(image), judge(reconstruction.detach()))
        # the reward left gradients here that are not the discriminator's own
        self.state.descend(loss, learning_rate)
