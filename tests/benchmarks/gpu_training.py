"""How fast does a training learn on a graphics card? The part of `gpu.py` that trains.

Run: python tests/benchmarks/gpu_training.py [--device cuda] [--minutes 0.5]

Of fine-tuning on two simulated sections, as it comes, of sections that do not fit on the card, of
the autoencoders, and with parts of it left out: samples per second of its late steps by phase, and
the share of the card's time that goes into data, computing or idle (`train.data_time`); of blocks,
for how long files were waited for. And of the autoencoder that learns from pictures of many kinds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from napari_damm import api
from napari_damm.dataset import SectionSource
from napari_damm.dataset.sources import ROLES
from napari_damm.events import Notice, TrainStep
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model.layers import memory_format
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.train import loop
from napari_damm.train import start as training_start
from napari_damm.train.autoencoder import AutoencoderTraining, preparation, train_autoencoder
from napari_damm.train.autoencoder.device_pictures import DevicePictures
from napari_damm.train.autoencoder.pictures import PicturePool
from napari_damm.train.autoencoder.preparation import USUAL_CROPS
from napari_damm.train.data_time import DataTime
from napari_damm.train.device_batches import sections_within
from napari_damm.train.recorded_step import recorder_for
from napari_damm.train.section_blocks import BLOCK_BYTES, SectionBlocks

BATCH = {"cuda": 128}
ROOM_BLOCKS = 6
"""So many of their 18 blocks have room on the card, where sections do not fit."""


@dataclass(frozen=True)
class Way:
    """What is done otherwise, and with which settings."""

    instead: tuple[tuple[Any, str, Any], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    anywhere: bool = False
    """Whether it makes sense on a processor too."""


NO_RECORDER = tuple((place, "recorder_for", lambda *_: None) for place in (loop, preparation))
NO_SECTIONS = (training_start, "sections_on_card", lambda *_: None)
IN_BLOCKS = partial(sections_within, ROOM_BLOCKS * BLOCK_BYTES)
ALL_ADAPT = (preparation, "POOR_R2", 2.0)  # none is so good
OF_STAGES = {"adapt_first_stages": True, "minutes": 0.02}
WAYS = {
    "training": Way(anywhere=True),
    "training, sections in blocks": Way(
        ((training_start, "sections_on_card", IN_BLOCKS),), anywhere=True
    ),
    "training, autoencoders": Way((ALL_ADAPT,), OF_STAGES, anywhere=True),
    "training, steps not recorded": Way(NO_RECORDER),
    "training, as on a CPU": Way((*NO_RECORDER, NO_SECTIONS)),
    "training, autoencoders as on a CPU": Way((ALL_ADAPT, *NO_RECORDER, NO_SECTIONS), OF_STAGES),
}
STAGE_STEPS = {"cuda": 100}
OF_PICTURES, PICTURE_PX = {True: (64, 200), False: (4, 3)}, 128
"""Crops of a batch and steps, with a card and without, and the side of a crop."""


def ways_on(device: str) -> list[str]:
    """Return what is measured on a device."""
    return [name for name, way in WAYS.items() if way.anywhere or device == "cuda"]


def training(device: str, minutes: float, way: str = "training") -> dict[str, Any]:
    """Fine-tune on simulated sections; return what the steps say."""
    steps: dict[str, list[TrainStep]] = {}
    said, blocks = [], list[SectionBlocks]()
    made = SectionBlocks.__init__

    def noted(self: SectionBlocks, *given: Any) -> None:
        blocks.append(self)
        made(self, *given)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as otherwise:
        for place, name, instead in WAYS[way].instead:
            otherwise.enter_context(patch.object(place, name, instead))
        otherwise.enter_context(patch.object(SectionBlocks, "__init__", noted))
        if device != "cuda":  # to try it: as if a card had so much memory
            memory = partial(patch.object, torch.cuda, "mem_get_info")
            otherwise.enter_context(memory(lambda *_: (2**30, 2**30)))
        settings = {"minutes": minutes, **WAYS[way].settings}
        if "adapt_first_stages" in settings:
            settings["first_stage_steps"] = STAGE_STEPS.get(device, 2)
        config = api.TrainConfig(
            name="gpu", device=device, validations=1, batch_size=BATCH.get(device, 8), **settings
        )
        for event in api.fine_tune(_simulated(), None, config, Path(folder) / "run"):
            if isinstance(event, TrainStep):
                steps.setdefault(event.phase, []).append(event)
            elif isinstance(event, Notice):
                said.append(event.message)
    found: dict[str, Any] = {"said": said}
    found |= {phase: _of_phase(phase, each, config.batch_size) for phase, each in steps.items()}
    for each in blocks:
        found["blocks"] = {"read": each.blocks_read, "s waited for files": each.waited_s}
    return found


def of_pictures(device: str) -> dict[str, float]:
    """Train the autoencoder of `train_autoencoder.py` on a few pictures; return what steps take."""
    count, steps = OF_PICTURES[device == "cuda"]
    stage = DAMM(DAMMConfig.of_preset("small", "ours")).first_stage("primary")
    stage = stage.to(device=device, memory_format=memory_format(device))
    made = DevicePictures(PicturePool(sections=2, drawn=10), count, PICTURE_PX, device)
    config = AutoencoderTraining(steps, 0, 1e-3, ema_decay=0.999, half=device == "cuda")
    on_data, times, waited = DataTime(device), [time.perf_counter()], 0.0

    def batch(step: int) -> torch.Tensor:
        with on_data.spent():
            return made.batch(step)

    for _ in train_autoencoder(stage, batch, config, recorder=recorder_for(device, 1)):
        times.append(time.perf_counter())
        waited += on_data.taken()()
    made.close()
    taken = [later - earlier for earlier, later in pairwise(times)]
    return {
        "samples/s": count / statistics.median(taken[len(taken) // 4 :]),
        "waiting for data": waited / sum(taken),
    }


def _simulated() -> list[SectionSource]:
    layers = []
    for seed in range(2):
        made = simulate_slide(768, EVALUATION_SEEDS_FROM + seed)
        images = made.vessels, made.nuclei, made.nanoparticles
        layers.append(SectionSource(dict(zip(ROLES, images, strict=True)), made.pixel_size_um))
    return layers


def _of_phase(phase: str, steps: Sequence[TrainStep], batch: int) -> dict[str, Any]:
    """Return what the late steps of a phase say."""
    late = steps[len(steps) // 4 :]
    samples = statistics.median(step.samples_per_s for step in late)
    return {
        "steps": len(steps),
        "steps/s": samples / (USUAL_CROPS[0] if phase.startswith("autoencoder") else batch),
        "samples/s": samples,
        "waiting for data": statistics.mean(step.waiting for step in late),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=0.5)
    args = parser.parse_args(arguments)
    print("autoencoder of pictures", json.dumps(of_pictures(args.device), indent=1), flush=True)
    for way in ways_on(args.device):
        print(way, json.dumps(training(args.device, args.minutes, way), indent=1), flush=True)


if __name__ == "__main__":
    main()
