"""Where an autoencoder's latents lie, and its codebook among them.

The diffusion starts from N(0, 1), so latents need zero mean and unit spread.
"""

from __future__ import annotations

import warnings

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from napari_damm.model.damm import FirstStage
from napari_damm.model.vqgan import VQGAN


@torch.no_grad()
def standardise_latents(stage: FirstStage, image: Tensor) -> None:
    """Fold an affine map into the encoder's output: zero mean, unit spread per channel."""
    z = stage.encode(image)
    mean, std = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3)).clamp_min(1e-6)
    stage.to_latent.weight.div_(std[:, None, None, None])
    bias = stage.to_latent.bias
    assert bias is not None
    bias.sub_(mean).div_(std)
    # the decoder's first layers see z * std again; the shift they learn back
    for conv in stage.latent_readers:
        shift = torch.einsum("oikl,i->o", conv.weight, mean)
        assert conv.bias is not None
        conv.bias.add_(shift)
        conv.weight.mul_(std[None, :, None, None])


@torch.no_grad()
def scale_to_unit_spread(stage: FirstStage, std: float) -> None:
    """Divide the latents by one number, exactly: encoder output, codebook and decoder input."""
    stage.to_latent.weight.div_(std)
    assert stage.to_latent.bias is not None
    stage.to_latent.bias.div_(std)
    if isinstance(stage, VQGAN) and stage.quantizer is not None:
        stage.quantizer.codebook.div_(std)
    for conv in stage.latent_readers:
        conv.weight.mul_(std)


def latent_drift(z: Tensor) -> Tensor:
    """Return how far latents (b, c, h, w) are from zero mean and unit spread: a number.

    Mean over the channels of mean^2 + (std - 1)^2.
    """
    mean, std = z.mean(dim=(0, 2, 3)), z.std(dim=(0, 2, 3))
    return (mean.square() + (std - 1).square()).mean()


@torch.no_grad()
def place_codebook(stage: VQGAN, images: list[Tensor], seed: int = 0) -> None:
    """Put the codebook entries where the latents are (k-means from random latents)."""
    latents = torch.cat([_flat(stage.encode(image)) for image in images]).cpu().numpy()
    entries = stage.config.codebook
    assert stage.quantizer is not None
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
    assert stage.quantizer is not None
    used = torch.zeros(stage.config.codebook, dtype=torch.bool)
    for z in latents:
        used[stage.quantizer.nearest(z).flatten().cpu()] = True
    flat = torch.cat([_flat(z) for z in latents]).cpu()
    idle = (~used).nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    pick = torch.randint(len(flat), (len(idle),), generator=generator)
    jitter = 0.01 * torch.randn(len(idle), flat.shape[1], generator=generator)
    codebook = stage.quantizer.codebook
    codebook[idle.to(codebook.device)] = (flat[pick] + jitter).to(codebook.device)
    return len(idle)


def _flat(z: Tensor) -> Tensor:
    return z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
