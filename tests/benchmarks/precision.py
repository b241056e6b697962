"""How far is a prediction in bfloat16 from one in single precision, and how fast?

Run: python tests/benchmarks/precision.py [--device cpu] [--modes expected draft fast]
         [--sections 4] [--size 448] [--json FILE]

Of each mode, over simulated sections of reserved seeds: the largest and the mean difference in grey
levels of 255, the share of the pixels within one, cells whose gate differs, and seconds of both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm import api
from napari_damm.events import Finished, Planned
from napari_damm.model.damm import DAMM
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.slide import Slide, slide_from_arrays
from napari_damm.store import Result

GREY = 255
STEPS = {"reference": 50}
"""Of modes that would take too long."""


def section(seed: int, size: int) -> Slide:
    """Return a simulated section."""
    made = simulate_slide(size, seed)
    images = {"vessels": made.vessels, "nuclei": made.nuclei}
    return slide_from_arrays(images, pixel_size_um=made.pixel_size_um)


def compared(device: str, mode: str, sections: int, size: int, **settings: Any) -> dict[str, Any]:
    """Predict sections in both precisions; return differences and seconds, the first run's not."""
    model = api.load_model(None, device)
    settings |= {"mode": mode, "device": device, "steps": STEPS.get(mode)}
    slides = [section(EVALUATION_SEEDS_FROM + k, size) for k in range(sections)]
    off, gates, seconds = [], 0, {"full": 0.0, "bf16": 0.0}
    for precision in seconds:
        predicted(slides[0], model, precision, settings)  # the first use is slower
    for slide in slides:
        pair = []
        for precision in seconds:
            result, took = predicted(slide, model, precision, settings)
            seconds[precision] += took
            pair.append((np.asarray(result.np), np.asarray(result.branch)))
        off.append(GREY * np.abs(pair[0][0] - pair[1][0]))
        gates += int((pair[0][1] != pair[1][1]).sum())
    return {
        "grey levels off, most": max(float(each.max()) for each in off),
        "grey levels off, mean": float(np.mean([each.mean() for each in off])),
        "pixels within one, worst section": min(float((each < 1).mean()) for each in off),
        "gates that differ": gates,
        "seconds, full": seconds["full"],
        "seconds, bf16": seconds["bf16"],
    }


def predicted(
    slide: Slide, model: DAMM, precision: str, settings: dict[str, Any]
) -> tuple[Result, float]:
    """Predict into memory: the result, and seconds after the planning."""
    config = api.PredictConfig(precision=precision, **settings)
    began = time.perf_counter()
    for event in api.predict(slide, model, config):
        if isinstance(event, Planned):
            began = time.perf_counter()
        elif isinstance(event, Finished):
            result: Result = event.result
    return result, time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare in all modes, print, and write JSON; return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--modes", nargs="+", default=["expected", "draft", "fast"])
    parser.add_argument("--sections", type=int, default=4)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    found = {}
    for mode in args.modes:
        found[mode] = compared(args.device, mode, args.sections, args.size)
        print(mode, json.dumps(found[mode], indent=1), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
