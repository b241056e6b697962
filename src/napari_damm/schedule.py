"""The noise process: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with scaled-linear betas.

t = 0 already means one step of noise; abar_999 = 7.5e-5 is kept (no zero-terminal-SNR).
Source: DAMM-Diffusion (arXiv 2503.09491), section 3; betas as in latent diffusion.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_damm.util.sending import sent

TIMESTEPS = 1000
BETA_START, BETA_END = 0.002, 0.02


class NoiseSchedule:
    """betas = linspace(sqrt 0.002, sqrt 0.02, 1000)^2; `alphas_cumprod` (1000,) float64."""

    def __init__(self) -> None:
        root = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64)
        self.alphas_cumprod: Tensor = torch.cumprod(1.0 - root.square(), dim=0)

    def add_noise(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of x_0 (b, ...) and eps (b, ...) at times t (b,), in the dtype of x_0."""
        # cast before moving: not every device knows float64
        abar = self.alphas_cumprod
        signal, noise = (
            sent(root.to(x_0.dtype), x_0.device)[t].view(-1, *[1] * (x_0.ndim - 1))
            for root in (abar.sqrt(), (1 - abar).sqrt())
        )
        return signal * x_0 + noise * eps

    def log_snr_half(self) -> Tensor:
        """lambda_t = ln(sqrt(abar_t) / sqrt(1 - abar_t)) for every t, (1000,) float64."""
        return 0.5 * (self.alphas_cumprod.log() - torch.log1p(-self.alphas_cumprod))
