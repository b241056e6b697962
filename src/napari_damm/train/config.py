"""The settings of a training, checked as far as that goes without data.

One frozen value makes the command's options, the widget's fields and the settings file. Nothing
here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from napari_damm.util.advice import Advice
from napari_damm.util.files import LONGEST_NAME
from napari_damm.util.settings import DEVICES, MAX_SEED, check_settings, setting

PRESETS = {
    "tiny": "to try things out",
    "small": "as large as the bundled model: on a graphics card",
    "paper": "as large as the paper's: on a large graphics card",
}
MODALITIES = ("vessels", "nuclei", "nanoparticles")
RECIPES = {
    "ours": "velocity, a confidence that sees both images and a gate for every cell",
    "paper": "noise, a confidence that never sees the secondary image, a gate for whole windows",
}
LOSSES = {
    "auto": "l2 where the network predicts velocity, as ours does",
    "l1": "absolute, as in the paper",
    "l2": "squared",
}
PRECISIONS = {
    "auto": "bf16-mixed on CUDA",
    "32-true": "single precision",
    "bf16-mixed": "bfloat16 where it does no harm",
}
OLD_NAMES = {"average": "ema_decay"}
"""Settings that were renamed; files and commands of the last release hold the old name."""
_NAME = re.compile(r"\w[\w. -]*")
_LONGEST_NAME = LONGEST_NAME - len(".safetensors")
"""Bytes of a model's name: with its ending it is a file's."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train; `util.settings.settings_of` says what each setting is for."""

    name: str = setting("my model", "Name of the model that comes out.")
    epochs: int = setting(
        100,
        "How long: passes over the training patches. Reproducible to the bit on one device.",
        least=1,
    )
    minutes: float | None = setting(
        None,
        "How long, in minutes on the clock, instead of epochs. The noise estimator's time: "
        "training autoencoders comes before it.",
        above=0,
    )
    preset: str | None = setting(
        None,
        "Train a new model of this size from scratch.",
        choices=PRESETS,
        left_out="the base model is fine-tuned",
        label="Start from",
    )
    gated_from: float = setting(
        0.4,
        "Share of the training before the detail alone learns, after which the gated phase follows "
        "the joint one (paper: 0.4).",
        least=0,
        most=1,
    )
    batch_size: int = setting(
        8,
        "Patches per step. Where memory runs out, they are computed in parts.",
        least=1,
        most=4096,
    )
    learning_rate: float | None = setting(
        None,
        "Highest rate of AdamW; it warms up, and falls along a cosine (paper: 1e-4).",
        above=0,
        left_out="2e-3 where the expected map is learnt, else 2e-4",
    )
    weight_decay: float = setting(0.01, "Weight decay of AdamW.", least=0)
    ema_decay: float = setting(
        0.995,
        "Decay per step of the moving average of the weights, which is what is kept.",
        least=0,
        below=1,
    )
    gradient_clip: float = setting(1.0, "Largest norm of a gradient.", above=0)
    gamma: float = setting(
        0.5,
        "Confidence from which a window counts as multi-modal in training (Predict: 0.5).",
        least=0,
        most=1,
    )
    confidence_weight: float = setting(
        1e-4, "Weight of the confidence's own loss (paper: 1e-4).", least=0
    )
    recipe: str = setting("ours", "Of a new model: how its network is made.", choices=RECIPES)
    loss: str = setting("auto", "Error of the noise that is minimised.", choices=LOSSES)
    divergence_weight: float | None = setting(
        None,
        "Weight with which the confidence learns where divergence was planted; 0: the paper's "
        "label instead.",
        least=0,
        left_out="0.1 where the confidence sees both images",
    )
    weight_limit: float = setting(
        20.0,
        "0 weighs all timesteps alike, as the paper does. A limit weighs each by the error of the "
        "image that its error means, at most so much: short trainings need it.",
        least=0,
    )
    expected_weight: float = setting(
        5.0,
        "Weight of the expected map's error on pixels, where the network predicts velocity, as "
        "our recipe's does: what adds detail to the drawn map then learns too. 0: the noise's "
        "error alone.",
        least=0,
    )
    expected_crops: int = setting(
        4, "Crops of 128 px that a step draws for the expected map.", least=1
    )
    detail_from: float | None = setting(
        None,
        "Where the expected map is learnt: share of the training after which only what adds detail "
        "to the drawn map goes on learning, which is fast; 1: never.",
        least=0,
        most=1,
        left_out="0.4 in fine-tuning, 0.9 from scratch",
    )
    noise_every: int | None = setting(
        None,
        "Where the expected map is learnt: the noise of all times, which sampled maps need, is "
        "learnt at each n-th step.",
        least=1,
        left_out="1 from scratch, 8 in fine-tuning",
    )
    adapt_encoders: bool = setting(
        False,
        "In fine-tuning, where the expected map is learnt: the encoders of the primary and the "
        "secondary image learn along with it.",
    )
    crop_px: int = setting(
        0,
        "Side in pixels of crops of the patches, for the start of a training from scratch: "
        "cheaper. 0: whole patches.",
        least=0,
    )
    crop_until: float = setting(
        0.0, "Share of the training in which crops are used.", least=0, most=1
    )
    validation_share: float = setting(
        0.2,
        "Share of the tissue that is kept for validation, in blocks.",
        above=0,
        below=0.9,
    )
    validations: int = setting(10, "How often the model is tried on validation windows.", least=1)
    validation_windows: int = setting(12, "On how many of them.", least=1)
    validation_tiles: int = setting(4, "How many of them are shown.", least=1)
    patience: int = setting(
        0, "Stop after so many validations in a row without a better one; 0: never.", least=0
    )
    variants: int | None = setting(
        None,
        "Augmented views of each patch, whose latents are kept on disk.",
        least=1,
        left_out="8, more where there are few patches",
        label="Views of a patch",
    )
    jitter: float = setting(
        0.25,
        "Share of the views in which the secondary image misleads, shifted or faded: what "
        "teaches the gate.",
        least=0,
        most=1,
    )
    adapt_first_stages: bool = setting(
        False,
        "Train the autoencoders on these images too, where they reproduce them poorly.",
        label="Autoencoders",
    )
    first_stage_steps: int | None = setting(
        None,
        "Steps of each autoencoder that is adapted. From scratch, of the start that all three "
        "share; each then goes on for half as many.",
        least=0,
        left_out="300; from scratch 2000, or, where a trained one fits the preset, none",
    )
    lpips: bool = setting(
        False, "Add the perceptual term to the autoencoders' loss (needs the package lpips)."
    )
    discriminator_from: int | None = setting(
        None,
        "Step from which a patch discriminator joins the autoencoders' training (paper: 50000).",
        least=0,
        left_out="never",
    )
    checkpoint_minutes: float = setting(
        2.0, "How often the state is saved, to be resumed from.", above=0
    )
    device: str = setting("auto", "What computes.", choices=DEVICES)
    devices: int = setting(1, "Number of devices.", least=1)
    strategy: str = setting(
        "auto", "How Lightning Fabric spreads the work over several devices: auto, ddp."
    )
    precision: str = setting("auto", "Precision of the arithmetic.", choices=PRECISIONS)
    seed: int = setting(0, "Key of all that is random.", least=0, most=MAX_SEED)
    pixel_size_um: float | None = setting(
        None, "Side in um of a new model's pixel.", above=0, left_out="that of the data"
    )
    modalities: tuple[str, str, str] = setting(
        MODALITIES, "What a new model's primary, secondary and target images are called."
    )

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        check_settings(self)
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                Advice(
                    "must be letters, digits, spaces, '-', '_' and '.', "
                    f"beginning with a letter or digit, got {self.name!r}",
                    parameter="name",
                )
            )
        size = len(self.name.encode(errors="surrogatepass"))
        if size > _LONGEST_NAME:
            raise ValueError(
                Advice(
                    f"must be at most {_LONGEST_NAME} bytes long, since a file is called so, "
                    f"got {size}: {self.name[:20]!r}...",
                    parameter="name",
                )
            )
        self._check_modalities()
        self._check_together()

    def _check_modalities(self) -> None:
        names = self.modalities
        if not isinstance(names, tuple | list) or not (
            len(names) == 3
            and all(isinstance(name, str) and name for name in names)
            and len(set(names)) == 3
        ):
            raise ValueError(
                Advice(f"must be 3 different names, got {names!r}", parameter="modalities")
            )
        object.__setattr__(self, "modalities", tuple(names))

    def _check_together(self) -> None:
        """Refuse settings that belong to others which are not set."""
        if bool(self.crop_px) != bool(self.crop_until):
            raise ValueError(
                Advice(
                    f"must go together with crop_until, got {self.crop_px} and {self.crop_until}",
                    "set both, {crop_px} and {crop_until}",
                    parameter="crop_px",
                )
            )
        trains_autoencoders = self.preset is not None or self.adapt_first_stages
        for name, is_set in (
            ("lpips", self.lpips),
            ("discriminator_from", self.discriminator_from is not None),
        ):
            if is_set and not trains_autoencoders:
                raise ValueError(
                    Advice(
                        "is of the autoencoders' training",
                        "set {adapt_first_stages} or {preset} as well",
                        parameter=name,
                    )
                )
        if self.preset is not None:
            return
        for name, usual in (
            ("modalities", MODALITIES),
            ("pixel_size_um", None),
            ("recipe", "ours"),
        ):
            if getattr(self, name) != usual:
                raise ValueError(
                    Advice(
                        f"of a fine-tuned model are those of its base, got {getattr(self, name)!r}",
                        "leave it out, or set {preset}",
                        parameter=name,
                    )
                )

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
