"""How long does a prediction take, and where does the time go?

Run: python tests/benchmarks/speed.py [--model FILE] [--size 1024] [--mode fast] [--json FILE]

1. Opening: import of the engine and loading of the model.
2. A whole prediction of a simulated section, repeated and the time to the first tile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Time it, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)

    start = time.perf_counter()
    from napari_damm import api
    from napari_damm.slide import slide_from_arrays

    model = api.load_model(args.model)
    opening = time.perf_counter() - start
    section = api.simulate_slide(args.size, 10_000)
    slide = slide_from_arrays(
        {"vessels": section.vessels, "nuclei": section.nuclei}, pixel_size_um=section.pixel_size_um
    )
    config = api.PredictConfig(mode=args.mode, batch_size=args.batch_size, lanes=args.lanes)
    runs, firsts = [], []
    for _ in range(args.repeats):
        start, first = time.perf_counter(), None
        for event in api.predict(slide, model, config):
            if first is None and type(event).__name__ == "Tile":
                first = time.perf_counter() - start
        runs.append(time.perf_counter() - start)
        firsts.append(first)
    numbers = {
        "opening s": opening,
        "prediction s": min(runs),
        "first tile s": min(f for f in firsts if f is not None),
        "all runs s": runs,
        "megapixels per s": args.size**2 / 1e6 / min(runs),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    for name, value in numbers.items():
        print(f"{name:18}", value)
    if args.json:
        report = {"arguments": vars(args), **numbers}
        args.json.write_text(json.dumps(report, default=str, indent=1))


if __name__ == "__main__":
    main()
