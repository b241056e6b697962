"""The noise estimator: a uni-modal and a multi-modal U-Net that share one time embedding.

1. `UNetBranch` holds one U-Net's weights: input conv, encoder blocks, middle, decoder, output.
2. `TwoBranchUNet.encode` runs both encoders, fusing after every block (MMFM) and at the
   bottleneck (UAFM), and reads the confidence: everything the gate needs.
3. `decode_uni` and `decode_multi` finish one branch each, so that a window pays only for the
   branch that it uses.
4. `forward` does both.

What the output convolution gives is the noise (the paper), or the velocity v = sqrt(abar) eps -
sqrt(1 - abar) x_0, from which `as_noise` makes the noise: everyone outside sees noise.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.2 and figure 2; velocity: Salimans and Ho, 2022
(arXiv 2202.00512), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_damm.model.fusion import Concatenation, MultiModalFusion, UncertaintyAwareFusion
from napari_damm.model.layers import (
    Downsample,
    ResBlock,
    TimeEmbedding,
    Upsample,
    check_channels,
    check_size,
    zero_init,
)
from napari_damm.schedule import NoiseSchedule

CHOICES = {
    "predicts": ("noise", "velocity"),
    "confidence_from": ("primary", "both"),
    "fusion": ("mmfm", "concat"),
    "attention": ("uncertainty", "plain"),
}


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the noise estimator, and how it differs from the paper (the defaults do not).

    Parameters
    ----------
    channels, time_channels, latent_channels
        Widths; those of `channels` are multiples of 32.
    predicts
        What the network's output means: "noise" (the paper) or "velocity".
    confidence_from
        Features that the confidence is read from: "primary" (the paper: it never sees the
        secondary image), or "both".
    fusion, attention
        "mmfm" and "uncertainty"; "concat" (a 1x1 convolution) and "plain" (never damped by the
        confidence) are the paper's ablations.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    time_channels: int = 1024
    latent_channels: int = 8
    predicts: str = "noise"
    confidence_from: str = "primary"
    fusion: str = "mmfm"
    attention: str = "uncertainty"

    def __post_init__(self) -> None:
        """Check the rules that the layers rely on."""
        check_channels("U-Net", self.channels)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        check_size("latent_channels", self.latent_channels, 1, 256)
        check_size("time_channels", self.time_channels, 8, 2**14)
        if self.time_channels % 8:
            raise ValueError(f"time_channels must be a multiple of 8, got {self.time_channels}")
        if self.latent_channels < 1:
            raise ValueError(f"latent_channels must be 1 or more, got {self.latent_channels}")

    @property
    def factor(self) -> int:
        """How much coarser the bottleneck is than the latent."""
        return int(2 ** (len(self.channels) - 2))


@lru_cache(maxsize=8)
def _roots(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return sqrt(abar) and sqrt(1 - abar) of all timesteps, float32."""
    # they outlive the call: training must be able to use them too
    with torch.inference_mode(False):
        abar = NoiseSchedule().alphas_cumprod
        return abar.sqrt().float().to(device), (1 - abar).sqrt().float().to(device)


class BranchOutputs(NamedTuple):
    """Both noise estimates (b, c, h, w) and the confidence u (b, h/factor, w/factor)."""

    eps_uni: Tensor
    eps_multi: Tensor
    confidence: Tensor


class Encoded(NamedTuple):
    """Everything between the encoders and the decoders.

    `uni` and `multi` are what each middle block takes; the skips run from shallow to deep.
    """

    time: Tensor
    uni: Tensor
    uni_skips: tuple[Tensor, ...]
    multi: Tensor
    multi_skips: tuple[Tensor, ...]
    confidence: Tensor

    def select(self, index: Tensor) -> Encoded:
        """Pick windows by a bool mask or by their positions."""
        return Encoded(
            self.time[index],
            self.uni[index],
            tuple(skip[index] for skip in self.uni_skips),
            self.multi[index],
            tuple(skip[index] for skip in self.multi_skips),
            self.confidence[index],
        )

    @staticmethod
    def cat(parts: Sequence[Encoded]) -> Encoded:
        """Join windows that were encoded in several batches."""
        time, uni, uni_skips, multi, multi_skips, confidence = zip(*parts, strict=True)
        return Encoded(
            torch.cat(time),
            torch.cat(uni),
            tuple(torch.cat(level) for level in zip(*uni_skips, strict=True)),
            torch.cat(multi),
            tuple(torch.cat(level) for level in zip(*multi_skips, strict=True)),
            torch.cat(confidence),
        )


class DecoderBlock(nn.Module):
    """A ResBlock on concat(h, skip); the first block of a deeper level also doubles the size."""

    def __init__(self, c_in: int, c_out: int, time_channels: int, upsample: bool) -> None:
        super().__init__()
        self.block = ResBlock(c_in, c_out, time_channels)
        self.up = Upsample(c_out, c_out) if upsample else None

    def forward(self, h: Tensor, skip: Tensor, e: Tensor) -> Tensor:
        """Take h and skip (b, *, h, w) at time embedding e."""
        h = self.block(torch.cat([h, skip], dim=1), e)
        return h if self.up is None else self.up(h)


class UNetBranch(nn.Module):
    """The weights of one U-Net; `encoder[i]` is a ResBlock or a Downsample, each one a skip."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        c, d = config.channels, config.time_channels
        deepest = len(c) - 1
        self.input = nn.Conv2d(2 * config.latent_channels, c[0], 3, padding=1)
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in range(1, deepest + 1):
            self.encoder.append(ResBlock(c[level - 1], c[level], d))
            self.encoder.append(ResBlock(c[level], c[level], d))
            if level < deepest:
                self.encoder.append(Downsample(c[level], c[level]))
            self.decoder.append(DecoderBlock(c[level] + c[level - 1], c[level - 1], d, level > 1))
            self.decoder.append(DecoderBlock(2 * c[level], c[level], d, False))
            self.decoder.append(DecoderBlock(2 * c[level], c[level], d, False))
        self.middle = nn.ModuleList([ResBlock(c[-1], c[-1], d), ResBlock(c[-1], c[-1], d)])
        self.output = zero_init(nn.Conv2d(c[0], config.latent_channels, 1))

    def encoder_step(self, index: int, h: Tensor, e: Tensor) -> Tensor:
        """Apply encoder block `index`."""
        block = self.encoder[index]
        out: Tensor = block(h, e) if isinstance(block, ResBlock) else block(h)
        return out

    def decode(self, h: Tensor, skips: tuple[Tensor, ...], e: Tensor) -> Tensor:
        """Run middle, decoder (last block first) and output: noise (b, latent_channels, h, w)."""
        for block in self.middle:
            h = block(h, e)
        for block, skip in zip(reversed(self.decoder), reversed(skips), strict=True):
            h = block(h, skip, e)
        out: Tensor = self.output(h)
        return out


class TwoBranchUNet(nn.Module):
    """Noise estimates of both branches for latents x_t, conditioned on two other latents."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.time = TimeEmbedding(config.time_channels)
        self.uni = UNetBranch(config)
        self.multi = UNetBranch(config)
        widths = [config.channels[0]]
        for level in range(1, len(config.channels)):
            blocks = 3 if level < len(config.channels) - 1 else 2
            widths += [config.channels[level]] * blocks
        fusion = MultiModalFusion if config.fusion == "mmfm" else Concatenation
        self.fusions = nn.ModuleList([fusion(c) for c in widths])
        self.attention = UncertaintyAwareFusion(
            config.channels[-1], config.confidence_from == "both"
        )

    def encode(
        self,
        x_t: Tensor,
        t: Tensor,
        primary: Tensor,
        secondary: Tensor,
        use_uncertainty: bool = True,
    ) -> Encoded:
        """Run both encoders on x_t (b, c, h, w) at times t (b,) with latents (b, c, h, w)."""
        e = self.time(t)
        uni = self.uni.input(torch.cat([x_t, primary], dim=1))
        multi = self.fusions[0](uni, self.multi.input(torch.cat([x_t, secondary], dim=1)))
        uni_skips, multi_skips = [uni], [multi]
        for i, fusion in enumerate(self.fusions[1:]):
            uni = self.uni.encoder_step(i, uni, e)
            multi = fusion(uni, self.multi.encoder_step(i, multi, e))
            uni_skips.append(uni)
            multi_skips.append(multi)
        damped = use_uncertainty and self.config.attention == "uncertainty"
        attended, confidence = self.attention(uni, multi, damped)
        return Encoded(e, uni, tuple(uni_skips), attended, tuple(multi_skips), confidence)

    def decode_uni(self, encoded: Encoded) -> Tensor:
        """Finish the uni-modal branch: what the network predicts (b, c, h, w)."""
        return self.uni.decode(encoded.uni, encoded.uni_skips, encoded.time)

    def decode_multi(self, encoded: Encoded) -> Tensor:
        """Finish the multi-modal branch: what the network predicts (b, c, h, w)."""
        return self.multi.decode(encoded.multi, encoded.multi_skips, encoded.time)

    def as_noise(self, predicted: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Turn what the network predicts for x_t (b, c, h, w) at times t (b,) into noise.

        eps = sqrt(abar) v + sqrt(1 - abar) x_t where it predicts the velocity.
        """
        if self.config.predicts == "noise":
            return predicted
        signal, noise = (root[t].view(-1, 1, 1, 1) for root in _roots(x_t.device))
        out: Tensor = signal * predicted.to(x_t.dtype) + noise * x_t
        return out

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        primary: Tensor,
        secondary: Tensor,
        use_uncertainty: bool = True,
    ) -> BranchOutputs:
        """Run both branches to the end."""
        encoded = self.encode(x_t, t, primary, secondary, use_uncertainty)
        return BranchOutputs(
            self.as_noise(self.decode_uni(encoded), x_t, t),
            self.as_noise(self.decode_multi(encoded), x_t, t),
            encoded.confidence,
        )
