"""The expected map, learnt on pixels: what an analyst is shown, judged where it is seen.

1. At the highest noise, of x_t = 0, the network's guess of x_0 is the expected map. The multi-modal
   branch makes it, as in a prediction; the uni-modal one where the secondary image is known to
   mislead, and in each sixteenth step. The gate learns from the same evaluation where that is.
2. The target's decoder draws it, and detail is added that sees the inputs too (`model.detail`); its
   error counts on pixels. So the noise estimator learns what matters in the image, and the detail
   what a latent cannot hold. In fine-tuning the decoder stays as it is: few images spoil it.
3. Every sixteenth time the target's own latent is drawn instead, by turns with and without the
   primary image where the decoder learns: sampled maps are drawn in the same way, and `decode(z)`
   must go on working.
4. In fine-tuning the encoders of both images may learn too: what they keep is then what tells of
   the target. Latents on disk are theirs no longer: `latents_of` makes those of the crops.

Only for models that have the detail. `with_detail` gives it to one that was made without.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_damm.model.damm import DAMM, DAMMConfig
from napari_damm.model.gate import mix_branches, mixed, where_multi
from napari_damm.model.unet import Encoded
from napari_damm.schedule import TIMESTEPS, NoiseSchedule
from napari_damm.train.batches import Batch, Crops
from napari_damm.train.config import TrainConfig
from napari_damm.train.losses import sound
from napari_damm.util.sending import takes_at_once

Arithmetic = Callable[[], AbstractContextManager[Any]]
"""Opens the context in which a network computes: in bfloat16, say."""
ENCODER = ("input", "encoder", "down", "to_latent")
DECODER = ("from_latent", "decoder", "up", "guide", "output")
"""Parts of an autoencoder."""
GIVEN_DETAIL = (16, 32, 32)
"""Channels of the detail that a model gets which was made without: what few real images tell is
learnt by this part most of all.
"""
DETAIL_NAMES = ("detail.",)
"""What a short training has the least of behind it: it learns faster."""
REPRODUCE_EVERY, UNI_EVERY, NOISE_EVERY = 16, 16, 8
MISLEADS = 0.5
"""From which share on the secondary image of a cell counts as misleading."""
LAST_ABAR = float(NoiseSchedule().alphas_cumprod[-1])
ABSOLUTE = 0.2
"""Weight of the absolute error beside the squared one: it keeps dark places dark."""


def can_have_detail(config: DAMMConfig) -> bool:
    """Return whether a model can learn its expected map: its network predicts velocity."""
    return config.unet.predicts == "velocity"


def learns_expected_map(model: DAMM, weight: float) -> bool:
    """Return whether a training of this model has this part."""
    return weight > 0 and model.detail is not None and can_have_detail(model.config)


def with_detail(model: DAMM, seed: int) -> DAMM:
    """Return a model as it is, with detail that adds nothing yet, its weights drawn by the seed."""
    if model.detail is not None:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = DAMM(replace(model.config, detail=GIVEN_DETAIL), model.card)
    made.load_state_dict({**made.state_dict(), **model.state_dict()})
    made.file = model.file
    return made.train(model.training)


def learning_from_zero(model: DAMM) -> DAMM:
    """Return the model, whose card says from now on what its expected map is made from."""
    model.config = replace(model.config, expected_from="zero")
    return model


def choose_parameters(model: DAMM, decoder: bool = False, encoders: bool = False) -> None:
    """Let the noise estimator and the detail learn, and of the autoencoders what is said.

    `decoder` is the target's, where it is guided; `encoders` are those of both inputs.
    """
    model.requires_grad_(False)
    model.unet.requires_grad_(True)
    if model.detail is not None:
        model.detail.requires_grad_(True)
    learning: list[tuple[nn.Module, tuple[str, ...]]] = []
    if decoder and model.config.guided:
        learning.append((model.first_stage("target"), DECODER))
    if encoders:
        learning += [(model.first_stage(role), ENCODER) for role in ("primary", "secondary")]
    for stage, parts in learning:
        for name in parts:
            part: nn.Module | None = getattr(stage, name, None)
            if part is not None:
                part.requires_grad_(True)


def learning_mode(model: DAMM) -> None:
    """Let what normalises over batches take its statistics from each.

    What a step without nuclei, or of the target's own latents, has learnt by the statistics of the
    usual ones spoils these: they are its own in every step, and settled before a model is judged.
    """
    model.unet.train()
    if model.detail is not None:
        model.detail.train()


def learns_part(model: DAMM, role: str) -> bool:
    """Return whether a part of an autoencoder is among what learns."""
    return any(p.requires_grad for p in model.first_stage(role).parameters())


def noise_every(config: TrainConfig) -> int:
    """Return at which steps the noise is learnt: as set, else seldom in fine-tuning."""
    if config.noise_every is not None:
        return config.noise_every
    return NOISE_EVERY if config.preset is None else 1


class EncodedCrops(NamedTuple):
    """What the encoders make of crops: latents (n, c, h, w), and what helps to draw the target.

    They carry gradients where encoders learn.
    """

    primary: Tensor
    secondary: Tensor
    features: list[Tensor]


def encode_crops(model: DAMM, crops: Crops) -> EncodedCrops:
    """Encode the primary and the secondary images of crops."""
    vessels, nuclei = (crops.images[:, k : k + 1] for k in range(2))
    primary, features = model.encode_primary(_channels(model, vessels, "primary"))
    secondary = model.encode(_channels(model, nuclei, "secondary"), "secondary")
    return EncodedCrops(primary, secondary, features)


@torch.no_grad()
def latents_of(model: DAMM, crops: Crops) -> Batch:
    """Return what the noise estimator learns from crops, apart from the encoders."""
    target = model.encode(_channels(model, crops.images[:, 2:], "target"), "target")
    primary, secondary, _ = encode_crops(model, crops)
    return Batch(primary, secondary, target, crops.planted)


def leaves_secondary_out(step: int) -> bool:
    """Return whether it is the turn of the uni-modal branch."""
    return step % UNI_EVERY == UNI_EVERY // 2


def reproduces(step: int) -> bool:
    """Return whether it is the turn of the target's own latents."""
    return step % REPRODUCE_EVERY == REPRODUCE_EVERY - 1


def says_alone(model: DAMM, step: int) -> bool:
    """Return whether the target's own latents are drawn without the primary image."""
    turn = step % (2 * REPRODUCE_EVERY) >= REPRODUCE_EVERY
    return turn and learns_part(model, "target")


def reproduction_error(
    model: DAMM, crops: Crops, step: int, arithmetic: Arithmetic = nullcontext
) -> Tensor:
    """Return the error of the target decoder's drawing of the target's latents: one number."""
    vessels, nuclei, target = (crops.images[:, k : k + 1] for k in range(3))
    features, other = None, None
    with torch.no_grad():
        z = model.encode(_channels(model, target, "target"), "target")
        if not says_alone(model, step):
            features = model.encode_primary(_channels(model, vessels, "primary"))[1]
            other = where_multi(_channels(model, nuclei, "secondary"), crops.planted < MISLEADS)
    with arithmetic():
        made = model.decode(z, primary=features, secondary=other)
    return pixel_error(made.float(), target)


class Needs(NamedTuple):
    """Which branches any cell of some crops takes: what learns of a step hangs on it."""

    uni: bool
    multi: bool


class MapErrors(NamedTuple):
    """Errors of an expected map, one number each: of its pixels, and of what the gate makes of it.

    The latter is BCE(u, 1 - share of the cell that misleads), as in `losses.planted_loss`.
    """

    pixels: Tensor
    gate: Tensor


def needs(
    model: DAMM, crops: Crops, step: int, fetch: Callable[[Tensor], Callable[[], Any]]
) -> Callable[[], Needs]:
    """Return what waits for which branches the expected map of crops takes; `fetch` brings it."""
    if leaves_secondary_out(step):
        return lambda: Needs(True, False)
    height, width = (side // model.config.token_px for side in crops.images.shape[2:])
    multi = F.adaptive_avg_pool2d(crops.planted[:, None], (height, width)) < MISLEADS
    coming = fetch(torch.stack([~multi.all(), multi.any()]))
    return lambda: Needs(*coming().tolist())


def expected_errors(
    model: DAMM,
    crops: Crops,
    encoded: EncodedCrops,
    step: int,
    known: Needs | None = None,
    arithmetic: Arithmetic = nullcontext,
) -> MapErrors:
    """Return the errors of the expected map that is drawn of crops.

    Where what it `needs` is `known`, nothing is asked of the device. The map is computed in an
    `arithmetic`; the errors are in float32, as are the images and latents.
    """
    with arithmetic():
        latent, multi, confidence = _expected_latent(model, crops, encoded, step, known)
        other = where_multi(_channels(model, crops.images[:, 1:2], "secondary"), multi)
        made = model.decode(latent, primary=encoded.features, secondary=other)
    misleads = _misleading(crops.planted, confidence)
    gate = _gate_error(confidence.float(), misleads, known is not None)
    return MapErrors(pixel_error(made.float(), crops.images[:, 2:]), gate)


class DrawnCrops(NamedTuple):
    """What the detail learns from: images (n, 1, h, w) in [-1, 1].

    The target as its decoder draws it, the primary image, the secondary one as the detail sees it,
    and the target as it was taken.
    """

    drawn: Tensor
    primary: Tensor
    secondary: Tensor
    target: Tensor


@torch.no_grad()
def drawn_crops(model: DAMM, crops: Crops, step: int) -> DrawnCrops:
    """Draw the expected maps of crops without the detail; those that `reproduces` says otherwise.

    There the target's own latents are drawn. Nothing is asked of a graphics card, which computes
    both branches instead.
    """
    primary, secondary, target = (crops.images[:, k : k + 1] for k in range(3))
    shown = _channels(model, secondary, "secondary")
    encoded = encode_crops(model, crops)
    if reproduces(step):
        latent = model.encode(_channels(model, target, "target"), "target")
        other = where_multi(shown, crops.planted < MISLEADS)
    else:
        known = None
        if takes_at_once(crops.images.device):
            known = Needs(True, not leaves_secondary_out(step))
        latent, multi, _ = _expected_latent(model, crops, encoded, step, known)
        other = where_multi(shown, multi)
    drawn = model.draw(latent, encoded.features)
    return DrawnCrops(*(_mean(image) for image in (drawn, primary, other, target)))


def detail_error(model: DAMM, drawn: DrawnCrops, arithmetic: Arithmetic = nullcontext) -> Tensor:
    """Return the mean squared error of drawn maps with detail added: one number."""
    assert model.detail is not None
    with arithmetic():
        made: Tensor = model.detail(drawn.drawn, drawn.primary, drawn.secondary)
    return (made.float() - drawn.target).square().mean()


def _mean(image: Tensor) -> Tensor:
    return image.mean(dim=1, keepdim=True)


def _expected_latent(
    model: DAMM, crops: Crops, encoded: EncodedCrops, step: int, known: Needs | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the latent of the expected map, where it is multi-modal, and the confidence.

    As in a prediction x_t is 0, the mean of the noise.
    """
    x_t = torch.zeros_like(encoded.primary)
    t = torch.full((len(x_t),), TIMESTEPS - 1, device=x_t.device)
    between = model.unet.encode(x_t, t, encoded.primary, encoded.secondary)
    multi = _misleading(crops.planted, between.confidence) < MISLEADS
    if leaves_secondary_out(step):
        multi = torch.zeros_like(multi)
    if known is not None:
        velocity = _velocity(model, between, multi, known).to(x_t.dtype)
        return clean(velocity, x_t), multi, between.confidence
    velocity = mix_branches(
        multi,
        lambda rows: model.unet.decode_multi(between.select(rows)),
        lambda rows: model.unet.decode_uni(between.select(rows)),
        x_t,
    )
    return clean(velocity, x_t), multi, between.confidence


def _velocity(model: DAMM, between: Encoded, multi: Tensor, known: Needs) -> Tensor:
    """Compute what `mix_branches` does, with the decoders that any window needs for all."""
    if not known.uni:
        return model.unet.decode_multi(between)
    uni = model.unet.decode_uni(between)
    return mixed(multi, model.unet.decode_multi(between), uni) if known.multi else uni


def _gate_error(confidence: Tensor, misleads: Tensor, asks_nothing: bool) -> Tensor:
    if asks_nothing:
        error = F.binary_cross_entropy(sound(confidence), 1 - misleads)
        return error + 0 * confidence.detach().sum()
    if not bool(torch.isfinite(confidence).all()):
        return confidence.mean()
    return F.binary_cross_entropy(confidence, 1 - misleads)


def _misleading(planted: Tensor, confidence: Tensor) -> Tensor:
    """Return the share of each of the gate's cells that misleads: (n, h, w), as the confidence."""
    _, height, width = confidence.shape
    return F.adaptive_avg_pool2d(planted[:, None], (height, width))[:, 0]


def clean(velocity: Tensor, x_t: Tensor) -> Tensor:
    """Solve v = sqrt(abar) eps - sqrt(1 - abar) x_0 for x_0 at the highest noise."""
    guess: Tensor = LAST_ABAR**0.5 * x_t - (1 - LAST_ABAR) ** 0.5 * velocity
    return guess


def pixel_error(made: Tensor, target: Tensor) -> Tensor:
    """Squared error + 0.2 absolute error of images in [-1, 1]: one number."""
    difference = made.mean(dim=1, keepdim=True) - target
    return difference.square().mean() + ABSOLUTE * difference.abs().mean()


def _channels(model: DAMM, image: Tensor, role: str) -> Tensor:
    return image.expand(-1, model.first_stage(role).config.image_channels, -1, -1)
