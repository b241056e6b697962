"""The user's wishes for a training, checked as far as that goes without data.

One frozen value makes the command's options, the widget's fields and the settings file. Nothing
here imports torch.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from napari_damm.util.choices import DEVICES, MAX_SEED

PRESETS = ("tiny", "small", "paper")
MODALITIES = ("vessels", "nuclei", "nanoparticles")
RECIPES = ("ours", "paper")
LOSSES = ("auto", "l1", "l2")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
OLD_NAMES = {"average": "ema_decay"}
"""Settings that were renamed; files and commands of the last release hold the old name."""
_NAME = re.compile(r"\w[\w. -]*")


@dataclass(frozen=True)
class TrainConfig:
    """The user's wishes for a training.

    Parameters
    ----------
    name
        Name of the model that comes out.
    epochs
        How long: passes over the training patches. Reproducible to the bit on one device.
    minutes
        How long, in minutes on the clock, instead of epochs. The noise estimator's time:
        training autoencoders comes before it.
    preset
        Train a new model of this size from scratch: tiny, small or paper. Left out, the
        base model is fine-tuned.
    gated_from
        Share of the training after which the gated phase follows the joint one (paper:
        0.4).
    batch_size
        Patches per step. Where memory runs out, they are computed in parts.
    learning_rate
        Highest rate of AdamW; it warms up, and falls along a cosine (paper: 1e-4).
    weight_decay
        Weight decay of AdamW.
    ema_decay
        Decay per step of the exponential moving average (EMA) of the weights, which is what is
        kept.
    gradient_clip
        Largest norm of a gradient.
    gamma
        Confidence from which a window counts as multi-modal in training (Predict: 0.5).
    confidence_weight
        Weight of the confidence's own loss (paper: 1e-4).
    recipe
        Of a new model: "ours", or "paper" for the paper's network (it predicts noise, its
        confidence never sees the secondary image, and its gate chooses for whole windows).
    loss
        Error of the noise that is minimised: l1 (paper), l2, or auto: l2 where the network
        predicts velocity, as ours does.
    divergence_weight
        Weight with which the confidence learns where divergence was planted; 0: the paper's
        label instead. Left out: 0.1 where the confidence sees both images.
    weight_limit
        0 weighs all timesteps alike, as the paper does. A limit weighs each by the error of
        the image that its error means, at most so much: short trainings need it.
    crop_px
        Side in pixels of crops of the patches, for the start of a training from scratch:
        cheaper. 0: whole patches.
    crop_until
        Share of the training in which crops are used.
    validation_share
        Share of the tissue that is kept for validation, in blocks.
    validations
        How often the model is tried on validation windows.
    validation_windows
        On how many of them.
    validation_tiles
        How many of them are shown.
    patience
        Stop after so many validations in a row without a better one; 0: never.
    variants
        Augmented views of each patch, whose latents are kept on disk. Left out: 8, more where there
        are few patches.
    jitter
        Share of the views in which the secondary image misleads, shifted or faded: what
        teaches the gate.
    adapt_first_stages
        Train the autoencoders on these images too, where they reproduce them poorly.
    first_stage_steps
        Steps of each autoencoder that is adapted (left out: 300). From scratch, of the start that
        all three share (left out: 2000); each then goes on for half as many.
    lpips
        Add the perceptual term to the autoencoders' loss (needs the package lpips).
    discriminator_from
        Step from which a patch discriminator joins the autoencoders' training (paper:
        50000). Left out: never.
    checkpoint_minutes
        How often the state is saved, to be resumed from.
    device
        auto, cpu, cuda or mps.
    devices
        Number of devices.
    strategy
        How Lightning Fabric spreads the work over several devices: auto, ddp.
    precision
        32-true, bf16-mixed, or auto: the latter on CUDA.
    seed
        Key of all that is random.
    pixel_size_um
        Side in um of a new model's pixel. Left out: that of the data.
    modalities
        What a new model's primary, secondary and target images are called.
    """

    name: str = "my model"
    epochs: int = 100
    minutes: float | None = None
    preset: str | None = None
    gated_from: float = 0.4
    batch_size: int = 8
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    gradient_clip: float = 1.0
    gamma: float = 0.5
    confidence_weight: float = 1e-4
    recipe: str = "ours"
    loss: str = "auto"
    divergence_weight: float | None = None
    weight_limit: float = 20.0
    crop_px: int = 0
    crop_until: float = 0.0
    validation_share: float = 0.2
    validations: int = 10
    validation_windows: int = 12
    validation_tiles: int = 4
    patience: int = 0
    variants: int | None = None
    jitter: float = 0.25
    adapt_first_stages: bool = False
    first_stage_steps: int | None = None
    lpips: bool = False
    discriminator_from: int | None = None
    checkpoint_minutes: float = 2.0
    device: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "auto"
    seed: int = 0
    pixel_size_um: float | None = None
    modalities: tuple[str, str, str] = MODALITIES

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        if not isinstance(self.modalities, tuple | list):
            raise ValueError(f"modalities must be 3 different names, got {self.modalities!r}")
        object.__setattr__(self, "modalities", tuple(self.modalities))
        self._check_choices()
        self._check_numbers()
        self._check_switches()
        trains_stages = self.preset is not None or self.adapt_first_stages
        for name in ("lpips", "discriminator_from"):
            value = getattr(self, name)
            if value is not None and value is not False and not trains_stages:
                raise ValueError(
                    f"{name} is of the autoencoders' training: set adapt_first_stages or preset "
                    "as well"
                )
        if bool(self.crop_px) != bool(self.crop_until):
            raise ValueError(
                f"crop_px and crop_until go together, got {self.crop_px} and {self.crop_until}"
            )
        self._check_new_model()

    def _check_new_model(self) -> None:
        """Refuse what belongs to a model from scratch where there is none."""
        if not all(isinstance(m, str) and m for m in self.modalities) or (
            len(set(self.modalities)) != 3 or len(self.modalities) != 3
        ):
            raise ValueError(f"modalities must be 3 different names, got {self.modalities!r}")
        if self.preset is None:
            usuals = (("modalities", MODALITIES), ("pixel_size_um", None), ("recipe", "ours"))
            for name, usual in usuals:
                if getattr(self, name) != usual:
                    raise ValueError(
                        f"{name} of a fine-tuned model are those of its base: leave it out, or set "
                        f"preset, got {getattr(self, name)!r}"
                    )

    def _check_choices(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                "name must be letters, digits, spaces, '-', '_' and '.', "
                f"beginning with a letter or digit, got {self.name!r}"
            )
        for name, choices in (
            ("preset", (None, *PRESETS)),
            ("device", DEVICES),
            ("precision", PRECISIONS),
            ("recipe", RECIPES),
            ("loss", LOSSES),
        ):
            if getattr(self, name) not in choices:
                listed = ", ".join(choice for choice in choices if choice)
                raise ValueError(f"{name} must be one of {listed}, got {getattr(self, name)!r}")
        if not isinstance(self.strategy, str):
            raise ValueError(f"strategy must be a name such as ddp, got {self.strategy!r}")

    def _check_numbers(self) -> None:
        rules: tuple[tuple[Mapping[str, float], Callable[[float, float], bool], str], ...] = (
            (_LEAST, lambda low, v: v >= low, "{} or more"),
            (dict.fromkeys(_POSITIVE, 0), lambda _, v: 0 < v < float("inf"), "above {}"),
            (dict.fromkeys(_SHARES, 1), lambda high, v: 0 <= v <= high, "in 0..{}"),
            (_BELOW, lambda high, v: 0 <= v < high, "0 or more and below {}"),
        )
        for bounds, holds, words in rules:
            for name, bound in bounds.items():
                value = getattr(self, name)
                if value is None and name in _OPTIONAL:
                    continue
                if not (_is_number(value) and holds(bound, value)):
                    raise ValueError(f"{name} must be {words.format(bound)}, got {value!r}")
        if self.validation_share == 0:
            raise ValueError("validation_share must be above 0, got 0")
        for name in _WHOLE:
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
            object.__setattr__(self, name, None if value is None else int(value))

    def _check_switches(self) -> None:
        for name in ("adapt_first_stages", "lpips"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the card and the settings file."""
        return {**asdict(self), "modalities": list(self.modalities)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Read back what `to_dict` wrote, or a person did.

        Raises
        ------
        ValueError
            If there is an unknown name, or a value is refused.
        """
        known = [field.name for field in fields(cls)]
        given = {}
        for name, value in values.items():
            now = OLD_NAMES.get(name, name)
            if now not in known:
                raise ValueError(f"unknown setting {name!r}: choose from {', '.join(known)}")
            if now in given:
                raise ValueError(f"{now} is given twice, once by its old name: leave one out")
            given[now] = value
        return cls(**given)


def help_of_settings() -> dict[str, str]:
    """Return what the docstring says of each setting: what options and tooltips show."""
    lines = inspect.cleandoc(TrainConfig.__doc__ or "").splitlines()
    told: dict[str, str] = {}
    name = ""
    for line in lines[lines.index("----------") + 1 :]:
        if not line.startswith(" "):
            name = line
        else:
            told[name] = f"{told.get(name, '')} {line.strip()}".strip()
    return told


_WHOLE = (
    "epochs", "batch_size", "validations", "validation_tiles", "validation_windows", "patience",
    "variants", "first_stage_steps", "discriminator_from", "devices", "crop_px", "seed",
)  # fmt: skip
_LEAST = {
    "epochs": 1, "batch_size": 1, "validations": 1, "validation_tiles": 1, "patience": 0,
    "validation_windows": 1, "variants": 1, "first_stage_steps": 0, "discriminator_from": 0,
    "devices": 1, "crop_px": 0, "weight_decay": 0, "confidence_weight": 0, "weight_limit": 0,
    "divergence_weight": 0,
}  # fmt: skip
_POSITIVE = ("minutes", "learning_rate", "checkpoint_minutes", "gradient_clip", "pixel_size_um")
_SHARES = ("gated_from", "crop_until", "jitter", "gamma")
_BELOW = {"ema_decay": 1, "validation_share": 0.9, "seed": MAX_SEED + 1}
_OPTIONAL = (
    "minutes", "variants", "first_stage_steps", "discriminator_from", "pixel_size_um",
    "divergence_weight",
)  # fmt: skip


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
