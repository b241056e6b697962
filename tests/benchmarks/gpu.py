"""Is the engine right on a graphics card, and how near to what the card can do?

Run: PYTHONPATH=src python tests/benchmarks/gpu.py [--device cuda] [--size 4096] [--batch 256]
         [--modes expected fast] [--train-minutes 0.5] [--json FILE]
Try it without a card: --device cpu --size 320 --batch 4 --train-minutes 0.05

1. Right: a small section on the device against the CPU, twice against itself, a region against the
   crop, and with so little memory that the ladder steps down.
2. Fast: of each mode, windows per second of the engine (arrays in memory, no file), of the sampler
   on windows that lie in memory, and of the network alone, both decoders at every step, in the same
   run. Where the engine's time goes by its own clock, and how much of the card's memory it takes.
3. Where the launches go: of one pool, kernels, copies and waits of the host per denoising step, and
   the share of the time in which the card computes, by torch's profiler.
4. Training: samples per second and the share of the time spent waiting for data.

One command of under five minutes. It needs torch and the package's own dependencies, neither napari
nor a network nor files beside the bundled weights. Where the device is not there it says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from napari_damm import api
from napari_damm.dataset import SectionSource
from napari_damm.engine.job import survey
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.windows import WindowInput
from napari_damm.events import Finished, Notice, Planned, TrainStep
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
            said.append(event.text)
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


def windows_in_memory(sampler: WindowSampler, count: int) -> list[WindowInput]:
    """Return windows of noise: what they show does not matter for the time."""
    side = 256
    rng = np.random.default_rng(0)
    pair = rng.uniform(-1, 1, (2, side, side)).astype(np.float32)
    return [WindowInput((0, k), (0, side * k), *pair) for k in range(count)]


def per_second(count: int, work: Callable[[], object], rounds: int = 3) -> float:
    """Return how many of `count` things a second; the first time is not counted."""
    work()
    _wait()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        _wait()
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds)


@torch.inference_mode()
def network_alone(sampler: WindowSampler, batch: int) -> float:
    """Windows per second of encoders, all steps of both branches and the decoder, nothing else."""
    model, steps = sampler.model, sampler.sampling.steps
    device = sampler.device
    image = torch.rand(batch, 1, 256, 256, device=device) * 2 - 1
    t = torch.full((batch,), 500, device=device)

    def work() -> None:
        primary, seen = model.encode_primary(image)
        secondary = model.encode(image, "secondary")
        x = torch.randn_like(primary)
        for _ in range(steps):
            between = model.unet.encode(x, t, primary, secondary)
            x = x - 0.01 * (model.unet.decode_multi(between) + model.unet.decode_uni(between))
        model.decode(x, primary=seen or None, secondary=image if seen else None)

    return per_second(batch, work)


def speed(device: str, size: int, batch: int, mode: str) -> dict[str, Any]:
    """Measure engine, sampler and network in one mode."""
    slide = section(size)
    config = api.PredictConfig(mode=mode, device=device, batch_size=batch)
    model = api.load_model(None, device)
    _, setup = survey(slide, model, config)
    sampler = WindowSampler.of(model, setup)
    predicted(section(320), device, mode=mode, batch_size=batch)  # the first use is slower
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result, seconds, _ = predicted(slide, device, mode=mode, batch_size=batch)
    windows = windows_in_memory(sampler, batch)
    found = {
        "engine, windows/s": result.record["windows"] / seconds,
        "sampler in memory, windows/s": per_second(
            batch, lambda: [None for _ in sampler.run(windows)]
        ),
        "network alone, windows/s": network_alone(sampler, batch),
        "seconds by part": result.record["timings"],
    }
    if device == "cuda":
        found["memory, GiB"] = torch.cuda.max_memory_allocated() / 2**30
    found["engine of network"] = found["engine, windows/s"] / found["network alone, windows/s"]
    return found | launches(sampler, windows, device)


def launches(sampler: WindowSampler, windows: list[WindowInput], device: str) -> dict[str, Any]:
    """Count what one pool launches, copies and waits for, per denoising step."""
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        began = time.perf_counter()
        for _ in sampler.run(windows):
            pass
        _wait()
        wall = time.perf_counter() - began
    steps = max(1, sampler.sampling.steps)
    counts = {event.key: event for event in profiler.key_averages()}

    def of(*names: str) -> float:
        return sum(e.count for key, e in counts.items() if any(n in key for n in names)) / steps

    found = {
        "operations per step": sum(e.count for k, e in counts.items() if k.startswith("aten::"))
        / steps,
        "copies per step": of("aten::copy_", "aten::clone", "aten::contiguous"),
    }
    if device == "cuda":
        busy = sum(event.self_device_time_total for event in counts.values()) / 1e6
        found |= {
            "kernels per step": of("cudaLaunchKernel", "cuLaunchKernel"),
            "waits of the host per step": of("cudaStreamSynchronize", "cudaDeviceSynchronize"),
            "share of the time the card computes": busy / wall,
        }
    return found


def training(device: str, minutes: float) -> dict[str, float]:
    """Fine-tune on simulated sections for so long; return what its steps say."""
    layers = []
    for seed in range(2):
        made = simulate_slide(768, EVALUATION_SEEDS_FROM + seed)
        images = {
            "primary": made.vessels,
            "secondary": made.nuclei,
            "target": made.nanoparticles,
        }
        layers.append(SectionSource(images, made.pixel_size_um))
    with tempfile.TemporaryDirectory() as folder:
        config = api.TrainConfig(name="gpu", minutes=minutes, device=device, validations=1)
        steps = [
            event
            for event in api.fine_tune(layers, None, config, Path(folder) / "run")
            if isinstance(event, TrainStep)
        ]
    late = steps[len(steps) // 4 :]
    if not late:
        return {"steps": 0.0}
    return {
        "steps": float(len(steps)),
        "samples/s": statistics.median(step.samples_per_s for step in late),
        "waiting for data": statistics.mean(step.waiting for step in late),
    }


@contextmanager
def noted(found: dict[str, Any], name: str) -> Iterator[None]:
    """Print how long a part took and what it found; a part that fails does not stop the others."""
    began = time.perf_counter()
    try:
        yield
    except Exception as error:  # what is measured on an unknown card may fail in any way
        found[name] = f"failed: {type(error).__name__}: {error}"
    print(f"{name} ({time.perf_counter() - began:.0f} s)")
    print(json.dumps(found.get(name), indent=1, default=str), flush=True)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure all parts, print them and write JSON; return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--modes", nargs="+", default=["expected", "fast"])
    parser.add_argument("--train-minutes", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("skipped: there is no CUDA device here")
    name = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    found: dict[str, Any] = {"card": name, "torch": torch.__version__}
    print(f"{name}, torch {torch.__version__}", flush=True)
    with noted(found, "right"):
        found["right"] = rightness(args.device, args.batch)
    for mode in args.modes:
        with noted(found, mode):
            found[mode] = speed(args.device, args.size, args.batch, mode)
    if args.device == "cuda":
        with noted(found, "ladder"):
            found["ladder"] = ladder(args.batch)
    with noted(found, "training"):
        found["training"] = training(args.device, args.train_minutes)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1, default=str))
    return found


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
