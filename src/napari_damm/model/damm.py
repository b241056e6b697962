"""The whole model: three autoencoders, the noise estimator, and the gate between its branches.

1. `encode` an image of any of the three modalities into its latent.
2. `predict_noise` with both branches, or `gated_noise` with the one that each window needs.
3. Which branch that is, is decided in `gate`.
4. `decode` a latent into an image; `detail` adds to the target's what a latent cannot hold.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from napari_damm.model.autoencoder import Autoencoder, AutoencoderConfig
from napari_damm.model.batches import fixed_batches, in_batches
from napari_damm.model.detail import Detail, check_detail, detail_channels
from napari_damm.model.gate import (
    GAMMA,
    GATES,
    Gated,
    choose_multi,
    mix_branches,
    select_branch,
)
from napari_damm.model.half import decoding
from napari_damm.model.layers import memory_format
from napari_damm.model.unet import BranchOutputs, Encoded, TwoBranchUNet, UNetConfig
from napari_damm.model.vqgan import VQGAN, VQGANConfig

__all__ = ["DAMM", "DAMMConfig", "select_branch"]

FirstStage = VQGAN | Autoencoder
FirstStageConfig = VQGANConfig | AutoencoderConfig
ROLES = ("primary", "secondary", "target")
CHOICES = {"gate": GATES, "read_out": ("last", "mean"), "expected_from": ("noise", "zero")}
DETAIL = (10, 16, 24)
"""Channels of the detail in our recipe, finest level first."""


@dataclass(frozen=True)
class DAMMConfig:
    """The architecture: one autoencoder per role (primary, secondary, target) and a U-Net.

    Parameters
    ----------
    first_stages, unet
        Sizes.
    gate
        What chooses its branch at a time: a "window", by its mean confidence (the paper), or each
        "cell" of the confidence map by its own.
    uni_share
        How much of the uni-modal branch there is in what the gate sends to it: 1 is the branch
        itself (the paper), 0.5 the mean of both branches. With a gamma of 1, which asks for the
        uni-modal branch everywhere, it is that branch itself.
    read_out
        Which confidence is shown as uncertainty: that of the "last" step, or the "mean" over all.
    detail
        Channels of the levels, finest first, of what adds fine structure to the target; none: there
        is no such part.
    expected_from
        What the network was shown for x_t when it learnt the expected map: "noise", or "zero", the
        noise's mean, which leaves no chance in the answer. A prediction shows it the same.
    """

    first_stages: tuple[FirstStageConfig, FirstStageConfig, FirstStageConfig] = (VQGANConfig(),) * 3
    unet: UNetConfig = field(default_factory=UNetConfig)
    gate: str = "window"
    read_out: str = "last"
    uni_share: float = 1.0
    detail: tuple[int, ...] = ()
    expected_from: str = "noise"

    def __post_init__(self) -> None:
        """Check that the latents of the three autoencoders fit the U-Net and each other."""
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        if isinstance(self.uni_share, bool) or not 0 <= self.uni_share <= 1:
            raise ValueError(f"uni_share must be in 0..1, got {self.uni_share}")
        if len(self.first_stages) != 3:
            raise ValueError(f"first_stages must be 3 (one per role), got {len(self.first_stages)}")
        if len({stage.factor for stage in self.first_stages}) != 1:
            factors = [stage.factor for stage in self.first_stages]
            raise ValueError(f"autoencoders must downsample alike, got factors {factors}")
        latents = [stage.latent_channels for stage in self.first_stages]
        if set(latents) != {self.unet.latent_channels}:
            raise ValueError(
                f"latent channels must be {self.unet.latent_channels} as in the U-Net, "
                f"got {latents}"
            )
        check_detail(self.detail, self.latent_factor)
        self._check_guide()

    def _check_guide(self) -> None:
        """Check that a guided decoder fits the encoder whose features it takes."""
        primary, *others = self.first_stages
        for stage in others:
            if not isinstance(stage, AutoencoderConfig) or not stage.guided:
                continue
            if not isinstance(primary, AutoencoderConfig) or primary.channels != stage.channels:
                raise ValueError(
                    "a guided decoder needs a primary autoencoder of its own channels "
                    f"{stage.channels}, got {primary.channels}"
                )

    @classmethod
    def paper(cls) -> DAMMConfig:
        """Return the paper's sizes: a noise estimator of 112.8 M parameters, 16x autoencoders."""
        return cls()

    @classmethod
    def small(cls) -> DAMMConfig:
        """Return a small size: one image channel, 8x autoencoders, under 30 MB in float16."""
        stage = VQGANConfig((32, 32, 64, 64), image_channels=1, latent_channels=4, codebook=4096)
        return cls((stage,) * 3, UNetConfig((32, 32, 64, 128), 128, latent_channels=4))

    @classmethod
    def tiny(cls) -> DAMMConfig:
        """Return the smallest sizes with the bundled model's grid: to try things out in seconds."""
        stage = VQGANConfig((32,) * 4, image_channels=1, latent_channels=4, codebook=64)
        return cls((stage,) * 3, UNetConfig((32,) * 4, 32, latent_channels=4))

    @classmethod
    def of_preset(cls, name: str, recipe: str = "paper") -> DAMMConfig:
        """Return the sizes that go by a name: tiny, small or paper.

        Recipe "ours": the network predicts velocity, its confidence sees both images, each cell
        has a gate of its own, the mean confidence of all steps is shown, and the autoencoders are
        those without normalisation and codebook, the target's decoder guided by the primary image,
        with detail added.
        """
        presets = {"tiny": cls.tiny, "small": cls.small, "paper": cls.paper}
        if name not in presets:
            raise ValueError(f"preset must be one of {', '.join(presets)}, got {name!r}")
        made = presets[name]()
        if recipe == "paper":
            return made
        unet = replace(made.unet, predicts="velocity", confidence_from="both")
        channels = (32, 32, 32) if name == "tiny" else (32, 64, 64)
        latent = 4 if name == "tiny" else 16
        stage = AutoencoderConfig(channels, made.first_stages[0].image_channels, latent)
        return replace(
            made,
            first_stages=(stage, stage, replace(stage, guided=True)),
            unet=replace(unet, latent_channels=latent),
            gate="cell",
            read_out="mean",
            detail=DETAIL,
        )

    @property
    def guided(self) -> bool:
        """Whether the target's decoder also sees the primary image."""
        target = self.first_stages[2]
        return isinstance(target, AutoencoderConfig) and target.guided

    @property
    def latent_factor(self) -> int:
        """Image pixels per latent pixel."""
        return self.first_stages[0].factor

    @property
    def token_px(self) -> int:
        """Image pixels per confidence token; a window's side must be a multiple of it."""
        return self.latent_factor * self.unet.factor

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the card."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DAMMConfig:
        """Read back what `to_dict` wrote (lists become tuples).

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing, unknown or of another kind: an architecture that is only half
            understood is another one.
        """
        known = _known(cls, values)
        stages = tuple(_stage_config(stage) for stage in known.pop("first_stages"))
        unet = known.pop("unet")
        unet = UNetConfig(**_known(UNetConfig, {**unet, "channels": tuple(unet["channels"])}))
        known["detail"] = detail_channels(known.get("detail"))
        return cls(stages, unet, **known)  # type: ignore[arg-type]  # __post_init__ counts them


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a config, which must be its fields."""
    unknown = sorted(set(values) - {each.name for each in fields(kind)})
    if unknown:
        raise ValueError(f"unknown entry {unknown[0]!r:.80}")
    return dict(values)


def _stage_config(values: Mapping[str, Any]) -> FirstStageConfig:
    kind = VQGANConfig if "codebook" in values else AutoencoderConfig
    return kind(**_known(kind, {**values, "channels": tuple(values["channels"])}))


def _stage(config: FirstStageConfig) -> FirstStage:
    return VQGAN(config) if isinstance(config, VQGANConfig) else Autoencoder(config)


class DAMM(nn.Module):
    """The three autoencoders and the two-branch noise estimator, with the model's card.

    `card["modalities"]` names primary, secondary and target, in that order.
    """

    def __init__(self, config: DAMMConfig, card: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config = config
        self.file: str | None = None  # where the weights were loaded from
        self.card: dict[str, Any] = {"modalities": ["vessels", "nuclei", "nanoparticles"]}
        self.card.update(card or {})
        self.first_stages = nn.ModuleDict(
            {role: _stage(stage) for role, stage in zip(ROLES, config.first_stages, strict=True)}
        )
        self.unet = TwoBranchUNet(config.unet)
        self.detail = Detail(config.detail) if config.detail else None

    def first_stage(self, modality: str | None = None) -> FirstStage:
        """Return the autoencoder of a modality, by role or by its name in the card."""
        names: list[str] = list(self.card["modalities"])
        role = "target" if modality is None else modality
        if role not in ROLES:
            if role not in names:
                raise ValueError(f"modality must be one of {names}, got {modality!r}")
            role = ROLES[names.index(role)]
        stage = self.first_stages[role]
        assert isinstance(stage, FirstStage)
        return stage

    def encode(self, image: Tensor, modality: str) -> Tensor:
        """Image (b, c, h, w) in [-1, 1] -> latent (b, latent, h/f, w/f), not quantised."""
        return self.first_stage(modality).encode(image)

    def encode_primary(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encode the primary image, and return what helps to draw the target, if anything does.

        That is the image, and what its encoder saw, (b, c, h, w) each, finest first: what `decode`
        takes as `primary`.
        """
        stage = self.first_stage("primary")
        if self.config.guided and isinstance(stage, Autoencoder):
            features = stage.features(image)
            return stage.latent(features), [image, *features]
        return self.encode(image, "primary"), [] if self.detail is None else [image]

    def decode(
        self,
        z: Tensor,
        modality: str | None = None,
        primary: Tensor | Sequence[Tensor] | None = None,
        secondary: Tensor | None = None,
    ) -> Tensor:
        """Latent (b, latent, h, w) -> image (b, c, h*f, w*f); the target by default.

        `primary` is the primary image of the same place, (b, c, h*f, w*f) in [-1, 1], or what
        `encode_primary` returns beside its latent; `secondary` is the other image where the
        multi-modal branch is used (see `gate.where_multi`). A guided decoder and the detail take
        fine structure from them; without `primary` the latent alone is decoded.
        """
        stage = self.first_stage(modality)
        seen = self.encode_primary(primary)[1] if isinstance(primary, Tensor) else primary
        if not seen or stage is not self.first_stages["target"]:
            return stage.decode(z)
        drawn = self.draw(z, seen)
        return drawn if self.detail is None else self.detail(drawn, seen[0], secondary)

    def draw(self, z: Tensor, primary: Sequence[Tensor]) -> Tensor:
        """Decode the target's latent without the detail; `primary` as `encode_primary` returns."""
        stage = self.first_stage("target")
        if isinstance(stage, Autoencoder):
            return stage.decode(z, primary[1:] or None)
        return stage.decode(z)

    def predict_noise(
        self,
        x_t: Tensor,
        t: Tensor | int,
        primary: Tensor,
        secondary: Tensor,
        use_uncertainty: bool = True,
    ) -> BranchOutputs:
        """Noise of both branches for x_t (b, c, h, w) at integer time(s) t, and confidence."""
        outputs: BranchOutputs = self.unet(x_t, _times(t, x_t), primary, secondary, use_uncertainty)
        return outputs

    def gated_noise(
        self,
        x_t: Tensor,
        t: Tensor | int,
        primary: Tensor,
        secondary: Tensor,
        gamma: float = GAMMA,
        batch_size: int | None = None,
        half: bool = False,
    ) -> Gated:
        """Noise of the branch that each window, or cell, needs; only that decoder runs for it.

        With a `batch_size` every network call has exactly that many windows (see `batches`), so
        that a window's bits do not depend on the others. `half`: see `model.half`.
        """
        times = _times(t, x_t)
        encoded = self._encoded(x_t, times, primary, secondary, batch_size)
        multi = choose_multi(encoded.confidence, gamma, self.config.gate)

        def decoded(decode: Callable[[Encoded], Tensor], rows: Tensor) -> Tensor:
            size = batch_size or len(rows)
            with decoding(rows.device.type, half):
                return in_batches(
                    lambda index: decode(encoded.select(rows[index])), len(rows), size, rows.device
                )

        mixed = mix_branches(
            multi,
            lambda rows: decoded(self.unet.decode_multi, rows),
            lambda rows: decoded(self.unet.decode_uni, rows),
            x_t,
            self.config.uni_share if gamma < 1 else 1.0,
        )
        return Gated(self.unet.as_noise(mixed, x_t, times), multi, encoded.confidence)

    def _encoded(
        self, x_t: Tensor, t: Tensor, primary: Tensor, secondary: Tensor, size: int | None
    ) -> Encoded:
        """Run the encoders, in batches of exactly `size` where one is given."""
        if size is None:
            return self.unet.encode(x_t, t, primary, secondary)
        parts, layout = list[Encoded](), memory_format(x_t.device.type)
        for index, kept in fixed_batches(len(x_t), size, x_t.device):
            x, first, second = (
                z[index].contiguous(memory_format=layout) for z in (x_t, primary, secondary)
            )
            part = self.unet.encode(x, t[index], first, second)
            parts.append(part.select(torch.arange(kept, device=x_t.device)))
        return Encoded.cat(parts)


def _times(t: Tensor | int, x_t: Tensor) -> Tensor:
    return torch.as_tensor(t, device=x_t.device).expand(x_t.shape[0])
