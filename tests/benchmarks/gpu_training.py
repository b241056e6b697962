"""How fast does a training learn on a graphics card? The part of `gpu.py` that trains.

Run: python tests/benchmarks/gpu_training.py [--device cuda] [--minutes 0.5]

Of fine-tuning on two simulated sections, as it comes, of sections that do not fit on the card, and
with parts of it left out: samples per second of its late steps by phase, and the share of the
card's time that goes into data, computing or idle (`train.data_time`); of blocks, for how long
files were waited for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from napari_damm import api
from napari_damm.dataset import SectionSource
from napari_damm.dataset.sources import ROLES
from napari_damm.events import Notice, TrainStep
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.train import loop
from napari_damm.train import start as training_start
from napari_damm.train.device_batches import sections_within
from napari_damm.train.section_blocks import BLOCK_BYTES, SectionBlocks

BATCH = {"cuda": 128}
ROOM_BLOCKS = 6
"""So many of their 18 blocks have room on the card, where sections do not fit."""
Way = list[tuple[Any, str, Callable[..., Any]]]
NOT_RECORDED: Way = [(loop, "recorder_for", lambda *_: None)]
WAYS: dict[str, Way] = {
    "training": [],
    "training, sections in blocks": [
        (training_start, "sections_on_card", partial(sections_within, ROOM_BLOCKS * BLOCK_BYTES)),
    ],
    "training, steps not recorded": NOT_RECORDED,
    "training, as on a CPU": [
        *NOT_RECORDED,
        (training_start, "sections_on_card", lambda *_: None),
    ],
}
"""What is done otherwise."""
ANYWHERE = 2
"""The first of them make sense on a processor too."""


def training(device: str, minutes: float, way: str = "training") -> dict[str, Any]:
    """Fine-tune on simulated sections; return what the steps say."""
    layers = []
    for seed in range(2):
        made = simulate_slide(768, EVALUATION_SEEDS_FROM + seed)
        images = made.vessels, made.nuclei, made.nanoparticles
        layers.append(SectionSource(dict(zip(ROLES, images, strict=True)), made.pixel_size_um))
    steps: dict[str, list[TrainStep]] = {}
    said, blocks = [], list[SectionBlocks]()
    made = SectionBlocks.__init__

    def noted(self: SectionBlocks, *given: Any) -> None:
        blocks.append(self)
        made(self, *given)

    with tempfile.TemporaryDirectory() as folder, ExitStack() as otherwise:
        for place, name, instead in WAYS[way]:
            otherwise.enter_context(patch.object(place, name, instead))
        otherwise.enter_context(patch.object(SectionBlocks, "__init__", noted))
        if device != "cuda":  # to try it: as if a card had so much memory
            memory = partial(patch.object, torch.cuda, "mem_get_info")
            otherwise.enter_context(memory(lambda *_: (2**30, 2**30)))
        config = api.TrainConfig(
            name="gpu", minutes=minutes, device=device, validations=1,
            batch_size=BATCH.get(device, 8),
        )  # fmt: skip
        for event in api.fine_tune(layers, None, config, Path(folder) / "run"):
            if isinstance(event, TrainStep):
                steps.setdefault(event.phase, []).append(event)
            elif isinstance(event, Notice):
                said.append(event.message)
    found: dict[str, Any] = {"said": said}
    for phase, events in steps.items():
        late = events[len(events) // 4 :]
        found[phase] = {
            "steps": len(events),
            "steps/s": statistics.median(step.samples_per_s for step in late) / config.batch_size,
            "samples/s": statistics.median(step.samples_per_s for step in late),
            "waiting for data": statistics.mean(step.waiting for step in late),
        }
    for each in blocks:
        found["blocks"] = {"read": each.blocks_read, "s waited for files": each.waited_s}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=0.5)
    args = parser.parse_args(arguments)
    for way in WAYS if args.device == "cuda" else list(WAYS)[:ANYWHERE]:
        print(way, json.dumps(training(args.device, args.minutes, way), indent=1), flush=True)


if __name__ == "__main__":
    main()
