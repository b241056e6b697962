"""Everything that a training is resolved into before it learns.

1. `open_data` opens the sections; `find_base` finds the model that it starts from, or makes a new
   one. Both refuse bad input before anything is written.
2. `measure` surveys the sections on the model's grid and splits them: what takes time, it tells.
3. `describe` puts it all into plain values, for the folder, the card, and the check on resuming.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_damm.dataset import Field, Section, Source, open_sections, survey
from napari_damm.dataset.patches import Split, split_patches
from napari_damm.dataset.sections import without_names
from napari_damm.evaluation.registration import said_of_moved
from napari_damm.evaluation.saturated import said_of_saturated
from napari_damm.events import Notice, Preparing
from napari_damm.model.damm import DAMM, DAMMConfig
from napari_damm.model_file import (
    content_hash,
    load_model,
    model_name,
    take_trained_autoencoders,
)
from napari_damm.slide.identity import file_identity
from napari_damm.slide.slide import covered_share
from napari_damm.train.config import TrainConfig
from napari_damm.train.copies import refuse_copies
from napari_damm.train.expected import can_have_detail, learning_from_zero, with_detail
from napari_damm.util.tiling import CELL, WINDOW
from napari_damm.util.version import __version__

LISTED_SECTIONS = 50
WHOLE = 0.95
"""Share of a section that its target covers, from which on nothing is said."""


@dataclass(frozen=True, eq=False)
class Base:
    """The model that a training starts from; `name` and `sha256` None for a new one.

    `new_autoencoders`: a new model's autoencoders have learnt nothing yet. `expected_from`: what
    its own expected map is made from, as it is before this training.
    """

    model: DAMM
    name: str | None
    sha256: str | None
    new_autoencoders: bool = False
    expected_from: str = "noise"


@dataclass(frozen=True, eq=False)
class Data:
    """The sections on the model's grid, and which patches of them do what."""

    fields: tuple[Field, ...]
    split: Split

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that tells these data from others: images, intensities, and the split."""
        plain = [
            [without_names(field.section.identity), field.limits, field.shape, field.model_um]
            for field in self.fields
        ]
        patches = [
            [(patch.field, patch.row, patch.col) for patch in part]
            for part in (self.split.train, self.split.validation)
        ]
        text = json.dumps([plain, patches], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode())
        for corners in self.split.corners:
            digest.update(np.packbits(corners).tobytes())
        return digest.hexdigest()

    @cached_property
    def target_files(self) -> str:
        """A hash of the targets that have files of their own, of which `fingerprint` has shapes."""
        paths = [field.section.target_path for field in self.fields]
        known = [None if path is None else file_identity(path)["sha256_content"] for path in paths]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()

    @property
    def pixel_size_um(self) -> float:
        """Side of a model pixel in um (of the first section, where each has its own)."""
        return self.fields[0].model_um


def open_data(data: Source | Sequence[Source]) -> list[Section]:
    """Open all sections.

    Raises
    ------
    ValueError, OSError
        If there are none, or one is missing, unusable or does not fit.
    """
    sources = data if isinstance(data, list | tuple) else (data,)
    sections = [section for source in sources for section in open_sections(source)]
    if not sections:
        raise ValueError("there is nothing to train on: give a slide, a folder or layers")
    refuse_copies(sections)
    return sections


def find_base(model: DAMM | str | Path | None, config: TrainConfig) -> Base:
    """Return the base model, on the CPU, or a new one of the preset.

    Raises
    ------
    ValueError, OSError
        If the model is unknown, unusable, or its windows do not fit.
    """
    if config.preset is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            made = DAMM(DAMMConfig.of_preset(config.preset, config.recipe), _new_card(config))
        if _learns_map(config) and made.detail is not None:
            made = learning_from_zero(made)
        _check_crops(made, config)
        trained = config.first_stage_steps is None and take_trained_autoencoders(made)
        return Base(made, None, None, new_autoencoders=not trained)
    if isinstance(model, DAMM):
        loaded = copy.deepcopy(model).cpu().eval()
    else:
        loaded = load_model(model, "cpu")
    token = loaded.config.token_px
    tokens, cells = WINDOW // token, WINDOW // CELL
    if WINDOW % token or (tokens % cells and cells % tokens):
        raise ValueError(
            f"the model's confidence tokens are {token} px wide, which do not fit windows of "
            f"{WINDOW} px: choose another base model"
        )
    _check_crops(loaded, config)
    checksum = loaded.card.get("sha256") or content_hash(loaded)
    start, name = loaded.config.expected_from, model_name(loaded)
    if _learns_map(config) and can_have_detail(loaded.config):
        loaded = learning_from_zero(with_detail(loaded, config.seed))
    return Base(loaded, name, checksum, expected_from=start)


def _learns_map(config: TrainConfig) -> bool:
    """Return whether the expected map is learnt: of several devices each would need all of it."""
    return config.expected_weight > 0 and config.devices == 1


def _check_crops(model: DAMM, config: TrainConfig) -> None:
    token = model.config.token_px
    if config.crop_px % token or config.crop_px > WINDOW:
        raise ValueError(
            f"crop_px must be a multiple of {token} up to {WINDOW} for this model, "
            f"got {config.crop_px}"
        )


def measure(
    sections: Sequence[Section], base: Base, config: TrainConfig
) -> Generator[Preparing | Notice, None, Data]:
    """Survey the sections and split them; say where images do not lie on each other.

    Raises
    ------
    ValueError, OSError
        If an image is blank or not finite, or there are too few patches.
    """
    um = base.model.card.get("pixel_size_um")
    fields: list[Field] = []
    doubted: set[str] = set()
    names = [str(name) for name in base.model.card["modalities"]]
    for field in survey(sections, None if um is None else float(um), names):
        fields.append(field)
        yield Preparing("measuring the images", len(fields), len(sections))
        doubt, folder = field.section.slide.doubt, field.section.folder
        if doubt and folder not in doubted:
            doubted |= {folder} - {""}  # of its patches one tells of all
            yield Notice(doubt, "warning")
        share = covered_share(field.section.slide.vessels, field.section.target)
        if share < WHOLE:
            yield Notice(
                f"{names[2]} cover {100 * share:.0f} % of the {names[0]}' image of "
                f"{field.section.name}: only there is something to learn",
                "warning",
            )
        filled = field.said_of_fill(names[2])
        if filled:
            yield Notice(filled, "warning")
    _check_apart(fields)
    together: dict[str, list[Field]] = {}
    for k, field in enumerate(fields):
        together.setdefault(field.section.folder or str(k), []).append(field)
    for group in together.values():
        for sentence in (*said_of_moved(group, names), said_of_saturated(group, names[2])):
            if sentence:
                yield Notice(sentence, "warning")
    return Data(tuple(fields), split_patches(fields, config.validation_share, config.seed))


def _check_apart(fields: Sequence[Field]) -> None:
    """Refuse parts of one section that overlap: each is split on its own.

    Raises
    ------
    ValueError
        If tissue of one would be that of another.
    """
    by_section: dict[str, list[Field]] = {}
    for field in fields:
        if not field.section.folder:
            section = field.section
            identity = section.pixels or without_names(section.identity)
            known = [identity, section.slide.pixel_size_um]
            key = json.dumps(known, sort_keys=True, default=str)
            by_section.setdefault(key, []).append(field)
    for parts in by_section.values():
        for k, part in enumerate(parts):
            for other in parts[:k]:
                if (part.usable & other.usable).any():
                    raise ValueError(
                        f"two parts of {part.section.name} overlap: give regions that lie apart, "
                        "or what one trains on would be what the other validates on"
                    )


def settle_pixel_size(base: Base, sections: Sequence[Section], config: TrainConfig) -> None:
    """Give a new model its pixel size: the one given, else that of the data."""
    if config.preset is None:
        return
    sizes = {round(section.slide.pixel_size_um, 6) for section in sections}
    if config.pixel_size_um is None and len(sizes) > 1:
        listed = ", ".join(f"{size:g}" for size in sorted(sizes)[:4])
        raise ValueError(
            f"the images have pixels of {listed} um: say with pixel_size_um which the new model "
            "is to have"
        )
    base.model.card["pixel_size_um"] = config.pixel_size_um or sizes.pop()


def describe(base: Base, data: Data, config: TrainConfig, kind: str) -> dict[str, Any]:
    """Return plain values: what was trained on, from what, how and with what."""
    identities = [field.section.identity for field in data.fields]
    return {
        "config": config.to_dict(),
        "base": base.name,
        "base_sha256": base.sha256,
        "modalities": [str(name) for name in base.model.card["modalities"]],
        "pixel_size_um": data.pixel_size_um,
        "data": [
            {"name": field.section.name, "kind": identity.get("kind"), "shape": list(field.shape),
             "identity": identity, "pixels": field.section.pixels}
            for field, identity in list(zip(data.fields, identities, strict=True))[:LISTED_SECTIONS]
        ],
        "data_sha256": data.fingerprint,
        "targets_sha256": data.target_files,
        "sections": len(data.fields),
        "patches": {"train": len(data.split.train), "validation": len(data.split.validation)},
        "simulated": all(identity.get("kind") == "simulated" for identity in identities),
        "device": kind,
        "versions": {
            "napari-damm": __version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip


def _new_card(config: TrainConfig) -> dict[str, Any]:
    return {
        "name": config.name,
        "modalities": list(config.modalities),
        "pixel_size_um": config.pixel_size_um,
        "licence": "not stated: for whoever trained it to choose",
    }
