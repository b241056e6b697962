"""The expected map, learnt on pixels: what an analyst is shown, judged where it is seen.

1. At the highest noise the network's guess of x_0 is the expected map. Three of four crops are
   those of the multi-modal branch, which is shown most, the fourth of the uni-modal one.
2. The target's decoder, which also sees the primary image, draws it; its error counts on pixels.
   So the noise estimator learns what matters in the image, and the decoder takes from the primary
   image the fine structure that a latent cannot hold.
3. Every fourth time the decoder reproduces the target's own latent instead, by turns with and
   without the primary image: sampled maps are drawn by it too, and `decode(z)` must go on working.

Only for models whose target decoder is guided. Encoders stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_damm.model.damm import DAMM
from napari_damm.model.gate import mix_branches
from napari_damm.schedule import TIMESTEPS, NoiseSchedule

REPRODUCE_EVERY, UNI_EVERY = 4, 4
ABSOLUTE = 0.2
"""Weight of the absolute error beside the squared one: it keeps dark places dark."""
_MIX = 1_000_003


def learns_expected_map(model: DAMM, weight: float) -> bool:
    """Return whether a training of this model has this part."""
    return weight > 0 and model.config.guided and model.config.unet.predicts == "velocity"


def choose_parameters(model: DAMM) -> None:
    """Let the noise estimator and the target's decoder learn, and nothing else."""
    model.requires_grad_(False)
    model.unet.requires_grad_(True)
    target = model.first_stage("target")
    for name in ("from_latent", "decoder", "up", "guide", "output"):
        getattr(target, name).requires_grad_(True)


def expected_error(model: DAMM, images: Tensor, step: int, seed: int) -> Tensor:
    """Return the error of what is drawn of images (n, 3, h, w) in [-1, 1]: one number.

    The noise is drawn by seed and step.
    """
    vessels, nuclei, target = (images[:, k : k + 1] for k in range(3))
    with torch.no_grad():
        primary, features = model.encode_primary(_channels(model, vessels, "primary"))
    turn = step % (2 * REPRODUCE_EVERY)
    if turn % REPRODUCE_EVERY == REPRODUCE_EVERY - 1:
        with torch.no_grad():
            z = model.encode(_channels(model, target, "target"), "target")
        guide = features if turn == REPRODUCE_EVERY - 1 else None
        return pixel_error(model.decode(z, primary=guide), target)
    with torch.no_grad():
        secondary = model.encode(_channels(model, nuclei, "secondary"), "secondary")
    generator = torch.Generator().manual_seed((seed * _MIX + step + 900_000_000) % 2**63)
    x_t = torch.randn(primary.shape, generator=generator).to(primary.device)
    t = torch.full((len(x_t),), TIMESTEPS - 1, device=x_t.device)
    encoded = model.unet.encode(x_t, t, primary, secondary)
    uni = (torch.arange(len(x_t), device=x_t.device) + step) % UNI_EVERY == 0
    velocity = mix_branches(
        ~uni[:, None, None],
        lambda rows: model.unet.decode_multi(encoded.select(rows)),
        lambda rows: model.unet.decode_uni(encoded.select(rows)),
        x_t,
    )
    return pixel_error(model.decode(clean(velocity, x_t), primary=features), target)


def clean(velocity: Tensor, x_t: Tensor) -> Tensor:
    """Solve v = sqrt(abar) eps - sqrt(1 - abar) x_0 for x_0 at the highest noise."""
    abar = float(NoiseSchedule().alphas_cumprod[-1])
    guess: Tensor = abar**0.5 * x_t - (1 - abar) ** 0.5 * velocity
    return guess


def pixel_error(made: Tensor, target: Tensor) -> Tensor:
    """Squared error + 0.2 absolute error of images in [-1, 1]: one number."""
    difference = made.mean(dim=1, keepdim=True) - target
    return difference.square().mean() + ABSOLUTE * difference.abs().mean()


def _channels(model: DAMM, image: Tensor, role: str) -> Tensor:
    return image.expand(-1, model.first_stage(role).config.image_channels, -1, -1)
