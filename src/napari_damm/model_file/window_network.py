"""A whole prediction of one window as one network, for programs that know no samplers.

Packages of bioimage.io name this class and its arguments: both stay as they are.

1. Both images are encoded.
2. All steps of a mode are made from a start `x_T` that is part of the weights: there is no chance.
3. The clean latent is decoded, as the sampler of a prediction does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from napari_damm.model.damm import DAMM, DAMMConfig
from napari_damm.model.gate import where_multi
from napari_damm.sampling import dpm_solver_steps
from napari_damm.schedule import NoiseSchedule


class WindowNetwork(nn.Module):
    """Primary and secondary image of a window in, target and uncertainty out.

    Parameters
    ----------
    architecture
        As on a model's card.
    side
        Side of the window in pixels.
    steps
        Denoising steps; 1 gives the expected map, where the network predicts velocity.
    gamma
        Confidence from which the multi-modal branch is used.
    """

    x_T: Tensor

    def __init__(
        self, architecture: Mapping[str, Any], side: int = 256, steps: int = 1, gamma: float = 0.5
    ) -> None:
        super().__init__()
        self.damm = DAMM(DAMMConfig.from_dict(architecture))
        self.steps, self.gamma = steps, gamma
        self.schedule = NoiseSchedule()
        latent = side // self.damm.config.latent_factor
        shape = (1, self.damm.config.unet.latent_channels, latent, latent)
        self.register_buffer("x_T", torch.zeros(shape))

    def forward(self, primary: Tensor, secondary: Tensor) -> tuple[Tensor, Tensor]:
        """Images (b, 1, h, w) of 0..1 -> target (b, 1, h, w), uncertainty (b, 1, th, tw)."""
        first, second = self._image(primary, "primary"), self._image(secondary, "secondary")
        z_first, features = self.damm.encode_primary(first)
        z_second = self.damm.encode(second, "secondary")
        multi, total = first.new_zeros(()), first.new_zeros(())
        last = total

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            nonlocal multi, total, last
            eps, multi, last = self.damm.gated_noise(x_t, t, z_first, z_second, self.gamma)
            total = total + last
            return eps

        x, made = self.x_T.expand(len(first), -1, -1, -1), 0
        for step in dpm_solver_steps(denoise, x, self.schedule, self.steps):
            x, made = step.x, step.total
        other = where_multi(second, multi) if features else None
        image = self.damm.decode(x, primary=features, secondary=other)
        confidence = total / made if self.damm.config.read_out == "mean" else last
        return (image.mean(dim=1, keepdim=True) + 1) / 2, 1 - confidence[:, None]

    def _image(self, image: Tensor, role: str) -> Tensor:
        channels = self.damm.first_stage(role).config.image_channels
        return (2 * image - 1).clamp(-1, 1).expand(-1, channels, -1, -1)
