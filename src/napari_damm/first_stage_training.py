"""Training of the first stages (one autoencoder per modality).

1. Warm up without the codebook: a plain autoencoder learns its latents.
2. Scale the latents to zero mean and unit spread (the diffusion starts from N(0, 1)), and place
   the codebook by k-means on them.
3. Go on with the codebook: quantised reconstruction, codebook loss, unused entries replanted.

Loss: 2/3 (L1 + 1 - SSIM) at full and 1/3 at half resolution + codebook loss. The paper adds LPIPS
and, late, a discriminator; both are left out here.
Source: DAMM-Diffusion (arXiv 2503.09491), section 3.1; VQGAN (arXiv 2012.09841).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F

from napari_damm.model.vqgan import VQGAN
from napari_damm.train_state import TrainState

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
REPLANT_BATCHES = 20


@dataclass(frozen=True)
class FirstStageConfig:
    """How a first stage is trained; `steps` includes the warm-up without codebook."""

    steps: int = 2000
    warmup_steps: int = 800
    learning_rate: float = 5e-4
    codebook_weight: float = 1e-6
    replant_every: int = 100

    def __post_init__(self) -> None:
        """Check the numbers that would fail late."""
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps must be in 0..{self.steps}, got {self.warmup_steps}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


@dataclass(frozen=True)
class FirstStageStep:
    """Losses of one step; `replanted` is how many unused codebook entries were moved."""

    step: int
    steps: int
    loss: float
    l1: float
    replanted: int


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of images in [0, 1] (b, c, h, w), Gaussian window, unpadded."""
    offset = torch.arange(SSIM_WINDOW, dtype=a.dtype, device=a.device) - SSIM_WINDOW // 2
    line = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    line = (line / line.sum()).expand(a.shape[1], 1, SSIM_WINDOW)

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, line[..., None], groups=x.shape[1])
        return F.conv2d(x, line[..., None, :], groups=x.shape[1])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + SSIM_C1) * (2 * cov + SSIM_C2)) / (
        (mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2)
    )


def image_loss(predicted: Tensor, image: Tensor) -> Tensor:
    """L1 + (1 - SSIM) of images in [-1, 1] (b, c, h, w); SSIM on [0, 1], prediction clamped."""
    ssim = ssim_map((predicted.clamp(-1, 1) + 1) / 2, (image + 1) / 2).mean()
    return (predicted - image).abs().mean() + 1 - ssim


def reconstruction_loss(image: Tensor, reconstruction: Tensor, half: Tensor) -> Tensor:
    """2/3 of the loss at full resolution + 1/3 at half resolution (nearest-exact target)."""
    small = F.interpolate(image, size=half.shape[2:], mode="nearest-exact")
    return 2 / 3 * image_loss(reconstruction, image) + 1 / 3 * image_loss(half, small)


def train_first_stage(
    stage: VQGAN,
    batch: Callable[[int], Tensor],
    config: FirstStageConfig,
    state: TrainState | None = None,
) -> Iterator[FirstStageStep]:
    """Train `stage` in place on `batch(step)` (b, c, h, w) in [-1, 1].

    `batch` must depend on the step alone: then a run resumed from `state` equals an
    uninterrupted one. Yields after every step; between yields `state` may be saved.
    """
    state = state or TrainState(stage, config.learning_rate)
    stage.train()
    while state.step < config.steps:
        step = state.step
        image = batch(step)
        if step == config.warmup_steps:
            standardise_latents(stage, image)
            place_codebook(stage, [batch(step + k) for k in range(8)])
            state.forget(stage.quantizer.codebook)
        quantize = step >= config.warmup_steps
        out = stage(image, quantize=quantize)
        loss = reconstruction_loss(image, out.image, out.half)
        state.descend(
            loss + config.codebook_weight * out.codebook_loss,
            state.cosine_rate(config.learning_rate, config.steps),
        )
        moved = 0
        # the last stretch is left alone, so that every entry settles
        if quantize and state.step % config.replant_every == 0 and step < 0.7 * config.steps:
            moved = replant(stage, [batch(step - k) for k in range(REPLANT_BATCHES)], step)
        l1 = float((out.image.detach() - image).abs().mean())
        yield FirstStageStep(step, config.steps, float(loss.detach()), l1, moved)
    stage.eval()


@torch.no_grad()
def standardise_latents(stage: VQGAN, image: Tensor) -> None:
    """Fold an affine map into the encoder's output: zero mean, unit spread per channel."""
    z = stage.encode(image)
    mean, std = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3)).clamp_min(1e-6)
    stage.to_latent.weight.div_(std[:, None, None, None])
    bias = stage.to_latent.bias
    assert bias is not None
    bias.sub_(mean).div_(std)
    # the decoder's first layers see z * std again; the shift they learn back
    for conv in (stage.from_latent.first.unit.conv, stage.from_latent.first.skip):
        if isinstance(conv, torch.nn.Conv2d):
            shift = torch.einsum("oikl,i->o", conv.weight, mean)
            assert conv.bias is not None
            conv.bias.add_(shift)
            conv.weight.mul_(std[None, :, None, None])


@torch.no_grad()
def place_codebook(stage: VQGAN, images: list[Tensor], seed: int = 0) -> None:
    """Put the codebook entries where the latents are (k-means from random latents)."""
    latents = torch.cat([_flat(stage.encode(image)) for image in images]).numpy()
    entries = stage.config.codebook
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(latents), (entries,), generator=generator).numpy()
    with warnings.catch_warnings():
        # an entry that no latent is nearest to stays where it is
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(latents, latents[pick], iter=3, minit="matrix")
    stage.quantizer.codebook.copy_(torch.from_numpy(centres))


@torch.no_grad()
def replant(stage: VQGAN, images: list[Tensor], seed: int) -> int:
    """Move the entries that these images do not use onto random latents of theirs; how many."""
    latents = [stage.encode(image) for image in images]
    used = torch.zeros(stage.config.codebook, dtype=torch.bool)
    for z in latents:
        used[stage.quantizer.nearest(z).flatten()] = True
    flat = torch.cat([_flat(z) for z in latents])
    idle = (~used).nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(flat), (len(idle),), generator=generator)
    jitter = 0.01 * torch.randn(len(idle), flat.shape[1], generator=generator)
    stage.quantizer.codebook[idle] = flat[pick] + jitter
    return len(idle)


@torch.no_grad()
def scale_to_unit_spread(stage: VQGAN, std: float) -> None:
    """Divide the latents by one number, exactly: encoder output, codebook and decoder input."""
    stage.to_latent.weight.div_(std)
    assert stage.to_latent.bias is not None
    stage.to_latent.bias.div_(std)
    stage.quantizer.codebook.div_(std)
    for conv in (stage.from_latent.first.unit.conv, stage.from_latent.first.skip):
        if isinstance(conv, torch.nn.Conv2d):
            conv.weight.mul_(std)


def _flat(z: Tensor) -> Tensor:
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
