"""How fast does training go, and how long does it wait for data?

Run: python tests/benchmarks/training.py [--model NAME|FILE] [--device auto] [--batch-size 8]
         [--steps 40] [--precision auto] [--json FILE]

Trains on simulated sections with few views, so that after the first epochs all latents are on disk.
Says samples per second and the share of the time spent on data, while latents are computed and
once they are kept. The first two steps of each part do not count.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from report import Load, print_table, write_json

from napari_damm import api
from napari_damm.events import Finished, TrainPlanned, TrainStep

VARIANTS = 2
SKIPPED = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print the two rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="steps with kept latents")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    data = api.SimulatedSource(2, 1024)
    wishes = {
        "device": args.device,
        "precision": args.precision,
        "batch_size": args.batch_size,
        "variants": VARIANTS,
        "validations": 1,
        "validation_windows": 1,
        "validation_tiles": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        steps, load = measure(data, args, wishes, Path(folder) / "run")
    per_epoch = 1 + max(step.step for step in steps if step.epoch == 0)
    fresh = [step for step in steps if step.epoch < VARIANTS][SKIPPED:]
    kept = [step for step in steps if step.epoch >= VARIANTS][SKIPPED:]
    rows = [row("latents computed", fresh), row("latents kept", kept)]
    print_table(
        f"training, batches of {args.batch_size}, {per_epoch - 1} steps per epoch",
        ("", "steps", "samples per s", "share waiting for data"),
        rows,
    )
    print(f"other processes took {load.others:.0%} of the cores")
    write_json(args.json, vars(args), rows=rows, others=load.others)


def measure(
    data: api.SimulatedSource, args: argparse.Namespace, wishes: dict[str, object], out: Path
) -> tuple[list[TrainStep], Load]:
    """Return the steps of a training that is long enough."""
    steps: list[TrainStep] = []
    load = Load()
    config = api.TrainConfig(epochs=100_000, **wishes)
    events = api.fine_tune(data, args.model, config, out)
    for event in events:
        if isinstance(event, TrainPlanned):
            load = Load()
            print(f"{event.train_patches} patches", flush=True)
        if isinstance(event, TrainStep):
            steps.append(event)
            if sum(step.epoch >= VARIANTS for step in steps) >= args.steps + SKIPPED:
                break
        assert not isinstance(event, Finished)
    events.close()
    return steps, load


def row(name: str, steps: list[TrainStep]) -> tuple[str, int, float, float]:
    """Return the rates of some steps: over their whole time, not the mean of rates."""
    seconds = [1 / step.samples_per_s for step in steps]
    waiting = [step.waiting for step in steps]
    share = float(np.average(waiting, weights=seconds))
    return name, len(steps), 1 / float(np.mean(seconds)), share


if __name__ == "__main__":
    main()
