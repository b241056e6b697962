"""Is the engine right on a graphics card? The part of `gpu.py` that compares maps.

A small section on the device against the CPU, twice against itself, a region against the crop, and
with so little memory that the ladder steps down.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_damm import api
from napari_damm.events import Finished, Notice, Planned
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.slide import Slide, slide_from_arrays
from napari_damm.store import Result

SMALL, GREY, LADDER_SHARE = 832, 255, 0.02
"""Section that is compared, px; grey levels; share of the card's memory that the ladder gets."""


def section(size: int) -> Slide:
    """Return a simulated section; a large one is a small one laid side by side."""
    side = min(size, 1024)
    made = simulate_slide(side, EVALUATION_SEEDS_FROM)
    times = -(-size // side)
    images = {
        name: np.tile(image, (times, times))[:size, :size]
        for name, image in (("vessels", made.vessels), ("nuclei", made.nuclei))
    }
    return slide_from_arrays(images, pixel_size_um=made.pixel_size_um)


def predicted(slide: Slide, device: str, **settings: Any) -> tuple[Result, float, list[str]]:
    """Predict into memory: the result, seconds after the planning, and what was said."""
    began, said = time.perf_counter(), []
    for event in api.predict(slide, None, api.PredictConfig(device=device, **settings)):
        if isinstance(event, Planned):
            began = time.perf_counter()
        elif isinstance(event, Notice):
            said.append(event.message)
        elif isinstance(event, Finished):
            result: Result = event.result
    return result, time.perf_counter() - began, said


def maps(result: Result) -> tuple[NDArray[Any], ...]:
    """Return the maps of a result."""
    return tuple(np.asarray(each) for each in (result.np, result.uncertainty, result.branch))


def rightness(device: str, batch: int) -> dict[str, Any]:
    """Compare the device with the CPU, with itself, and a region with the crop."""
    slide, settings = section(SMALL), {"mode": "fast", "steps": 4}
    here = maps(predicted(slide, device, batch_size=batch, **settings)[0])
    again = maps(predicted(slide, device, batch_size=batch, **settings)[0])
    cpu = maps(predicted(slide, "cpu", **settings)[0])
    whole = maps(predicted(slide, device, batch_size=batch, mode="expected")[0])[0]
    # a region is computed with the whole section's limits, on the whole section's grid
    y0, x0, y1, x1 = 128, 64, 576, 640
    part = maps(
        predicted(slide, device, batch_size=batch, mode="expected", roi=(y0, x0, y1, x1))[0]
    )[0]
    off = GREY * np.abs(here[0] - cpu[0])
    return {
        "grey levels off, most": float(off.max()),
        "grey levels off, mean": float(off.mean()),
        "pixels within one grey level": float((off <= 1).mean()),
        "gates that differ": int((here[2] != cpu[2]).sum()),
        "the same twice": all(np.array_equal(a, b) for a, b in zip(here, again, strict=True)),
        "region equals crop, inside": bool(
            np.array_equal(part[128:-128, 128:-128], whole[y0:y1, x0:x1][128:-128, 128:-128])
        ),
    }


def ladder(batch: int) -> list[str]:
    """Predict with little of the card's memory; return what was said of it."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LADDER_SHARE)
    try:
        *_, said = predicted(section(SMALL), "cuda", mode="expected", batch_size=batch)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return said
