"""What a training is made of, from its first event to its last."""

from __future__ import annotations

from dataclasses import dataclass

from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Schedule
from napari_damm.train.checkpointing import Checkpointer
from napari_damm.train.config import TrainConfig
from napari_damm.train.fabric import Machine
from napari_damm.train.setup import Data
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.train.validation import Validator


@dataclass(frozen=True, eq=False)
class TrainingParts:
    """The pieces that the autoencoders' preparation and the loop share.

    `model` is on the machine's device, and is what learns. `from_scratch`: it has no base.
    `new_autoencoders`: they have learnt nothing yet.
    """

    config: TrainConfig
    machine: Machine
    data: Data
    model: DAMM
    from_scratch: bool
    new_autoencoders: bool
    schedule: Schedule
    validator: Validator
    checkpoints: Checkpointer
    unreadable: UnreadablePatches
