"""Is the engine right on a graphics card, and how near to what the card can do?

Run: PYTHONPATH=src python tests/benchmarks/gpu.py [--device cuda] [--size 4096] [--batch 256]
         [--modes expected fast draft reference] [--train-minutes 0.3] [--json FILE]
         [--compiled]
Try it without a card, in two minutes: --device cpu --quick

1. Right: a small section on the device against the CPU, twice against itself, a region against the
   crop, with steps that are recorded against steps that are not, and with so little memory that the
   ladder steps down.
2. Fast: of each mode (reference with 50 steps, on a quarter of the section) windows per second of
   the engine (arrays in memory, no file), of the sampler on windows that lie in memory (steps
   recorded, not recorded, as on other devices), and of the network alone, both decoders at every
   step. Where the engine's time goes by its own clock, and how much memory of the card it takes.
3. Where the launches go: of one pool, kernels, copies and waits of the host per denoising step, and
   the share of the time in which the card computes, by torch's profiler.
4. In bfloat16: how far off, and how fast (`precision.py`).
5. By how many windows at a time the sampler is fastest.
6. Training: samples per second and the share of the card's time that goes into data, as it comes,
   of sections that do not fit there, of the autoencoders, with steps that are not recorded, and as
   on a CPU (`gpu_training.py`).

7. With --compiled, what `torch.compile` of a step takes and gains; that may take minutes more.

Meant to take under five minutes. What is found is printed, and written to `--json`, part by part:
none is lost where a later one fails or the time is up. A part that leaves its process without the
card, or ends it, costs no other: those after it are done in a new one (`supervised.py`). Needs no
napari, network or other files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_right import GREY, ladder, predicted, rightness, section
from gpu_speed import compiled, per_second, used_up, wait_for_card, windows_in_memory
from gpu_training import of_pictures, training, ways_on
from notes import Notes
from precision import compared
from supervised import supervised
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from napari_damm import api
from napari_damm.engine.config import CUDA_EXPECTED_BATCH
from napari_damm.engine.device_sampler import DeviceSampler, sampler_of
from napari_damm.engine.job import survey
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.step_graph import CudaRecorder
from napari_damm.engine.windows import WindowInput

STEPS = 50


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
    """Measure engine, samplers and network in one mode."""
    long = mode == "reference"
    slide = section(size // 2 if long else size)
    settings = {"mode": mode, "batch_size": batch} | ({"steps": STEPS} if long else {})
    model = api.load_model(None, device)
    _, setup = survey(slide, model, api.PredictConfig(device=device, **settings))
    sampler = sampler_of(model, setup)
    predicted(section(320), device, **settings)  # the first use is slower
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result, seconds, said = predicted(slide, device, **settings)
    windows = windows_in_memory(sampler, batch)
    samplers = {
        "": sampler,
        ", not recorded": DeviceSampler(model, setup.sampling, device),
        ", as on other devices": WindowSampler.of(model, setup),
    }
    found: dict[str, Any] = {
        f"sampler in memory{how}, windows/s": per_second(batch, partial(used_up, each, windows))
        for how, each in samplers.items()
    }
    found |= {
        "engine, windows/s": result.record["windows"] / seconds,
        "network alone, windows/s": network_alone(sampler, batch),
        "seconds by part": result.record["timings"],
        "said": said,
    }
    if device == "cuda":
        found["memory, GiB"] = torch.cuda.max_memory_allocated() / 2**30
    found["engine of network"] = found["engine, windows/s"] / found["network alone, windows/s"]
    return found | launches(sampler, windows, device)


def by_batch(device: str, mode: str, most: int) -> dict[str, float]:
    """Return windows per second of the sampler, by the windows of a call."""
    model = api.load_model(None, device)
    found = {}
    for batch in (most >> k for k in (3, 2, 1, 0) if most >> k):
        config = api.PredictConfig(mode=mode, device=device, batch_size=batch)
        sampler = sampler_of(model, survey(section(320), model, config)[1])
        windows = windows_in_memory(sampler, batch)
        found[f"{batch} at a time"] = per_second(batch, partial(used_up, sampler, windows))
    return found


def recorded(batch: int) -> dict[str, Any]:
    """Compare steps that are recorded with steps that are not, and what recording takes."""
    model = api.load_model(None, "cuda")
    config = api.PredictConfig(mode="fast", steps=4, device="cuda", batch_size=batch)
    _, setup = survey(section(320), model, config)
    graphs = DeviceSampler(model, setup.sampling, "cuda", CudaRecorder())
    eager = DeviceSampler(model, setup.sampling, "cuda")
    windows = windows_in_memory(graphs, batch)
    began = time.perf_counter()
    first, took = list(graphs.run(windows))[-1], time.perf_counter() - began
    again, known = list(graphs.run(windows))[-1], list(eager.run(windows))[-1]

    def most_off(one: list[Any], other: list[Any]) -> float:
        return max(float(np.abs(a.np - b.np).max()) for a, b in zip(one, other, strict=True))

    return {
        "trouble": graphs.step.trouble or "none",
        "first pool, s": took,
        "grey levels off what is not recorded, most": GREY * most_off(first, known),
        "the same twice": most_off(first, again) == 0,
    }


def launches(sampler: WindowSampler, windows: list[WindowInput], device: str) -> dict[str, Any]:
    """Count what one pool launches, copies and waits for, per denoising step."""
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        began = time.perf_counter()
        for _ in sampler.run(windows):
            pass
        wait_for_card()
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
        # of the card's own events: those of the host name the time of the kernels that they start
        of_card = [e for e in counts.values() if e.device_type == DeviceType.CUDA]
        copies = [e for e in of_card if e.key.startswith(("Memcpy", "Memset"))]
        busy, copying = (
            sum(event.self_device_time_total for event in events) / 1e6
            for events in (of_card, copies)
        )
        waits = [e for e in counts.values() if e.key.endswith("Synchronize")]
        found |= {
            "launches per step": of("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch"),
            "waits of the host per step": of("cudaStreamSynchronize", "cudaDeviceSynchronize"),
            "paced waits per step": of("cudaEventSynchronize"),
            "copies from and to the host per step": of("cudaMemcpyAsync"),
            "share of the time the card computes": (busy - copying) / wall,
            "share of the time the card copies": copying / wall,
            "share of the time the host waits": sum(e.cpu_time_total for e in waits) / 1e6 / wall,
        }
    return found


def half(args: argparse.Namespace, mode: str) -> dict[str, Any]:
    """Compare bfloat16 with single precision: how far off on two sections, how fast on one."""
    found = compared(args.device, mode, 1 if args.quick else 2, 448, batch_size=args.batch)
    large = args.size // 2 if mode == "reference" else args.size
    for precision in ("full", "bf16"):
        settings = {"mode": mode, "batch_size": args.batch, "precision": precision}
        settings |= {"steps": STEPS} if mode == "reference" else {}
        result, seconds, _ = predicted(section(large), args.device, **settings)
        found[f"engine, windows/s, {precision}"] = result.record["windows"] / seconds
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure all parts, print them and write JSON; return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--modes", nargs="+", default=["expected", "fast", "draft", "reference"])
    parser.add_argument("--train-minutes", type=float, default=0.3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=8, help="no part is begun after these")
    parser.add_argument("--quick", action="store_true", help="a little of all, to try it")
    parser.add_argument("--compiled", action="store_true", help="try torch.compile: minutes more")
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts, in this process")
    given = list(sys.argv[1:] if arguments is None else arguments)
    args = parser.parse_args(given)
    if args.quick:
        args.size, args.batch, args.train_minutes, args.modes = 320, 4, 0.05, ["expected", "draft"]
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("skipped: there is no CUDA device here")
    parts = dict(all_parts(args))
    if args.only:
        return these_parts(args, {name: parts[name] for name in args.only})
    with tempfile.TemporaryDirectory() as folder:
        path = args.json or Path(folder) / "found.json"

        def command(names: Sequence[str], minutes: float) -> list[str]:
            mine = ["--json", str(path), "--minutes", str(minutes), "--only", *names]
            return [sys.executable, __file__, *given, *mine]

        return supervised(command, list(parts), path, args.minutes)


def these_parts(args: argparse.Namespace, parts: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Measure some parts in this process, as long as it has the card; add them to the notes."""
    card = torch.cuda.get_device_name() if args.device == "cuda" else args.device
    print(f"{card}, torch {torch.__version__}", flush=True)
    before = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    until = time.perf_counter() + 60 * args.minutes
    notes = Notes(args.json, until, **{**before, "card": card, "torch": torch.__version__})
    for name, work in parts.items():
        if notes.take(name, work) and not _usable():
            sys.exit(f"the card cannot be used any more after {name!r}")
    return notes.found


def all_parts(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the parts, what matters most first."""
    device, batch, card = args.device, args.batch, args.device == "cuda"
    yield "right", partial(rightness, device, batch)
    if card:
        yield "recorded", partial(recorded, batch)
    *usual, last = args.modes
    for mode in usual:
        size = min(batch, CUDA_EXPECTED_BATCH) if mode == "expected" else batch
        yield mode, partial(speed, device, args.size, size, mode)
    for mode in args.modes[:2]:
        yield f"{mode} by batch", partial(by_batch, device, mode, batch)
    first, *others = ways_on(device)
    yield first, partial(training, device, args.train_minutes, first)
    if card:
        yield "ladder", partial(ladder, batch)
    for mode in args.modes:
        yield f"bf16, {mode}", partial(half, args, mode)
    yield last, partial(speed, device, args.size, batch, last)
    yield "autoencoder of pictures", partial(of_pictures, device)
    if args.compiled:
        yield "fast, compiled", partial(compiled, device, batch)
    for way in others:
        yield way, partial(training, device, args.train_minutes, way)


def _usable() -> bool:
    """Tell whether this process can still compute: a fault in a kernel is told ever after."""
    try:
        wait_for_card()
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    main()
