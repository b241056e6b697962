"""How fast does a training learn on a graphics card? The part of `gpu.py` that trains.

Run: python tests/benchmarks/gpu_training.py [--device cuda] [--minutes 0.5]

Of fine-tuning on two simulated sections, as it comes and with parts of it left out: samples per
second of its late steps by phase, and the share of their time spent waiting for data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from napari_damm import api
from napari_damm.dataset import SectionSource
from napari_damm.dataset.sources import ROLES
from napari_damm.events import Notice, TrainStep
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.train import loop
from napari_damm.train import start as training_start

BATCH = {"cuda": 128}
WAYS: dict[str, list[tuple[Any, str]]] = {
    "training": [],
    "training, steps not recorded": [(loop, "recorder_for")],
    "training, as on a CPU": [(loop, "recorder_for"), (training_start, "sections_on_card")],
}
"""What is left out, on a card."""


def training(device: str, minutes: float, way: str = "training") -> dict[str, Any]:
    """Fine-tune on simulated sections; return what the steps say."""
    layers = []
    for seed in range(2):
        made = simulate_slide(768, EVALUATION_SEEDS_FROM + seed)
        images = made.vessels, made.nuclei, made.nanoparticles
        layers.append(SectionSource(dict(zip(ROLES, images, strict=True)), made.pixel_size_um))
    steps: dict[str, list[TrainStep]] = {}
    said = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as left_out:
        for place, name in WAYS[way]:
            left_out.enter_context(patch.object(place, name, lambda *_: None))
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
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all ways, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=0.5)
    args = parser.parse_args(arguments)
    for way in WAYS if args.device == "cuda" else ["training"]:
        print(way, json.dumps(training(args.device, args.minutes, way), indent=1), flush=True)


if __name__ == "__main__":
    main()
