"""The patch discriminator's part in an autoencoder's training.

1. It learns to tell images from reconstructions: hinge loss.
2. The autoencoder is rewarded for deceiving it, with such a weight that at the decoder's last
   layer both the reward and the reconstruction loss pull alike.

Source: VQGAN (arXiv 2012.09841), equations 5 to 7.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
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
        self.gradients(image, reconstruction)
        self.state.apply(learning_rate)

    def gradients(self, image: Tensor, reconstruction: Tensor) -> None:
        """Compute the gradients of that step."""
        judge = self.state.module
        loss = hinge_loss(judge(image), judge(reconstruction.detach()))
        self.state.discard()  # the reward left some that are not the discriminator's own
        self.state.backward(loss)


class WithAdversary:
    """An autoencoder's state and its adversary's, which take a step together (a `Learner`)."""

    def __init__(self, stage: TrainState, adversary: TrainState) -> None:
        self._stage, self._adversary = stage, adversary

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that learns, by name."""
        theirs = self._adversary.parameters.items()
        return {**self._stage.parameters, **{f"adversary.{name}": each for name, each in theirs}}

    @property
    def step(self) -> int:
        """Steps that the autoencoder took."""
        return self._stage.step

    def touched(self) -> list[Tensor]:
        """Return all that a step changes."""
        return [*self._stage.touched(), *self._adversary.touched()]

    def set_rate(self, learning_rate: float) -> None:
        """Let the next step have this learning rate."""
        self._stage.set_rate(learning_rate)
        self._adversary.set_rate(learning_rate)

    def step_down(self, clip: float) -> Tensor:
        """Step down the gradients, each clipped; return the sum of their norms."""
        return self._stage.step_down(clip) + self._adversary.step_down(clip)

    def stepped(self) -> None:
        """Count a step."""
        self._stage.stepped()
        self._adversary.stepped()

    def discard(self) -> None:
        """Drop the gradients of both."""
        self._stage.discard()
        self._adversary.discard()
