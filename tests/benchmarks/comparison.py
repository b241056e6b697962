"""How fast and how large is a prediction, beside three other ways of running the same weights?

Run: python tests/benchmarks/comparison.py [--model bundled|paper|FILE] [--size 768] [--repeats 2]
         [--steps-measured 30] [--only NAME ...] [--json FILE]

1. `ours`: `api.predict`, default configuration (fast, 16 steps), result in memory.
2. `paper's loop`: window by window, as the paper's code does: encode both images, 1000 DDIM steps
   (eta 1) at batch one with BOTH decoders in every step, choose the branch, decode. Encoding,
   decoding and `--steps-measured` steps (after five to warm up) are measured on two windows; the
   faster ones are extrapolated to 1000 steps and all windows: computed, not waited for.
3. `MONAI 4`, `MONAI 1`: MONAI's SlidingWindowInferer (256 px, overlap 0.25, Gaussian blending, 4 or
   1 windows per call) around the same fast sampler, gated (only the decoder that a window needs),
   with ordinary noise.
4. `dask`: map_overlap, blocks of 192 px with 32 px on every side, around the same; two workers of
   one torch thread each.

Everything else has torch's default threads. The others get pictures already normalised, and store
nothing. A section whose side is a multiple of 192 px has as many windows for all.

Every contestant runs in a process of its own, alternating, `--repeats` times. Import, loading of
the model and the section come first and are not counted. Memory is the largest resident set while
it worked: as such, and beyond what was resident once model and section were loaded. `cpu s` (in
the JSON) is processor time, of what was waited for: it tells a busy machine from a slow program.

`--model paper` has random weights of the paper's sizes and gamma 0, so that every window needs the
multi-modal decoder. `multi` in the table is the share of windows whose last step was multi-modal
(for the paper's loop, which does not get that far: of the steps measured).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from windows import FastWindows, evaluation_section, load_model, machine, whole_images

from napari_damm.simulate import EVALUATION_SEEDS_FROM
from napari_damm.slide import Slide, slide_from_arrays
from napari_damm.util.tiling import STRIDE, WINDOW

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

OURS, LOOP, DASK = "ours", "paper's loop", "dask"
MONAI = {"MONAI 4": 4, "MONAI 1": 1}
CONTESTANTS = (OURS, LOOP, *MONAI, DASK)
PAPER_STEPS = 1000
WARM_UP_STEPS = 5
FASTER_THAN_LOOP = 80
Measured = dict[str, Any]
Images = tuple[np.ndarray, np.ndarray]


def run_ours(slide: Slide, model: DAMM, gamma: float) -> Measured:
    """Predict with the engine."""
    from napari_damm import api

    start = time.perf_counter()
    *_, finished = api.predict(
        slide, model, api.PredictConfig(mode="fast", gamma=gamma, device="cpu")
    )
    seconds = time.perf_counter() - start
    record = finished.result.record
    share = record["multi_modal_windows"] / record["windows"]
    return {"seconds": seconds, "windows": record["windows"], "multi share": share}


def run_loop(images: Images, model: DAMM, gamma: float, n: int) -> Measured:
    """Measure two windows of the paper's loop, and extrapolate the faster one."""
    height, width = images[0].shape
    corners = (0, 0), (height - WINDOW, width - WINDOW)
    cuts = [[i[y : y + WINDOW, x : x + WINDOW].copy() for i in images] for y, x in corners]
    measured = [loop_window(cut, model, gamma, n) for cut in cuts]
    parts = {key: min(each[key] for each in measured) for key in ("encode s", "step s", "decode s")}
    seconds = parts["encode s"] + PAPER_STEPS * parts["step s"] + parts["decode s"]
    windows = (height // STRIDE) * (width // STRIDE)
    share = statistics.mean(each["multi share"] for each in measured)
    return {"seconds": seconds * windows, "windows": windows, "multi share": share} | parts


def loop_window(cut: Sequence[np.ndarray], model: DAMM, gamma: float, n: int) -> Measured:
    """Measure the parts of one window: encoding, one of n steps, decoding."""
    import torch

    from napari_damm.model.damm import select_branch
    from napari_damm.sampling import ddim_steps
    from napari_damm.schedule import NoiseSchedule

    fast = FastWindows(model, gamma)
    vessels, nuclei = (torch.from_numpy(image)[None, None] for image in cut)
    multi: list[bool] = []

    def denoise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        eps, chosen = select_branch(model.predict_noise(x_t, t, primary, secondary), gamma)
        multi.append(bool(chosen))
        return eps

    with torch.inference_mode():
        start = time.perf_counter()
        primary, features = model.encode_primary(fast.shown(vessels, "primary"))
        shown = fast.shown(nuclei, "secondary")
        secondary = model.encode(shown, "secondary")
        encoded = time.perf_counter()
        x_T = torch.randn_like(primary)
        noise = lambda _: torch.randn_like(x_T)  # noqa: E731
        steps = ddim_steps(denoise, x_T, NoiseSchedule(), PAPER_STEPS, 1.0, noise)
        for _ in range(WARM_UP_STEPS):
            next(steps)
        warm = time.perf_counter()
        for _ in range(n):
            x = next(steps).x
        stepped = time.perf_counter()
        fast.drawn(x, features, shown, torch.ones(1, 1, 1, dtype=torch.bool))
        decoded = time.perf_counter()
    return {
        "encode s": encoded - start,
        "step s": (stepped - warm) / n,
        "decode s": decoded - stepped,
        "multi share": sum(multi) / len(multi),
    }


def run_monai(images: Images, model: DAMM, gamma: float, batch: int) -> Measured:
    """Predict with MONAI's sliding windows."""
    import torch
    from monai.inferers import SlidingWindowInferer

    fast = FastWindows(model, gamma)
    inferer = SlidingWindowInferer(WINDOW, batch, overlap=1 - STRIDE / WINDOW, mode="gaussian")
    start = time.perf_counter()
    stacked = torch.from_numpy(np.stack(images))[None]
    with torch.inference_mode():
        inferer(stacked, fast)
    return _counted(fast, time.perf_counter() - start)


def run_dask(images: Images, model: DAMM, gamma: float) -> Measured:
    """Predict with dask's map_overlap."""
    import dask
    import dask.array as da
    import torch

    def block(vessels: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
        torch.set_num_threads(1)
        fast = FastWindows(model, gamma)
        image = fast(torch.from_numpy(np.stack([vessels, nuclei]))[None])[0, 0].numpy()
        counts.append(fast)
        return image

    counts: list[FastWindows] = []
    start = time.perf_counter()
    arrays = [da.from_array(image, chunks=STRIDE) for image in images]
    meta = np.empty((0, 0), np.float32)
    halo = (WINDOW - STRIDE) // 2
    predicted = da.map_overlap(block, *arrays, depth=halo, boundary="reflect", meta=meta)
    with dask.config.set(scheduler="threads", num_workers=2):
        predicted.compute()
    seconds = time.perf_counter() - start
    both = FastWindows(model, gamma)
    both.multi = [chosen for fast in counts for chosen in fast.multi]
    return _counted(both, seconds)


def _counted(fast: FastWindows, seconds: float) -> Measured:
    share = sum(fast.multi) / len(fast.multi)
    return {"seconds": seconds, "windows": len(fast.multi), "multi share": share}


def contest(args: argparse.Namespace) -> Measured:
    """Load everything, then run one contestant and watch its memory."""
    model, gamma = load_model(args.model)
    stored = np.load(args.section)
    slide = slide_from_arrays(
        {role: stored[role] for role in ("vessels", "nuclei")}, float(stored["pixel_size_um"])
    )
    images = whole_images(slide, model)
    runs: dict[str, Callable[[], Measured]] = {
        OURS: lambda: run_ours(slide, model, gamma),
        LOOP: lambda: run_loop(images, model, gamma, args.steps_measured),
        DASK: lambda: run_dask(images, model, gamma),
    }
    for name, batch in MONAI.items():
        runs[name] = lambda batch=batch: run_monai(images, model, gamma, batch)
    if args.contestant in MONAI:
        import monai.inferers  # noqa: F401  # loading it is not part of the race
    elif args.contestant == OURS:
        from napari_damm import engine  # noqa: F401
    before = _start_memory()
    worked = time.process_time()
    found = runs[args.contestant]()
    found["cpu s"] = time.process_time() - worked
    peak = _peak_memory()
    return found | {"peak MiB": peak, "added MiB": peak - before}


def _start_memory() -> float:
    """Forget earlier peaks, where the system can, and return what is resident now, in MiB."""
    import psutil

    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    return float(psutil.Process().memory_info().rss / 2**20)


def _peak_memory() -> float:
    """Return the largest resident set since `_start_memory`, in MiB."""
    if sys.platform == "linux":
        # not ru_maxrss: that one begins with the size of whoever started the process
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def race(args: argparse.Namespace, section: Path) -> dict[str, list[Measured]]:
    """Run every contestant in a process of its own, taking turns."""
    found: dict[str, list[Measured]] = {name: [] for name in args.only}
    for repeat in range(args.repeats):
        for name in args.only:
            command = [sys.executable, __file__, "--contestant", name, "--section", str(section)]
            command += ["--model", args.model, "--steps-measured", str(args.steps_measured)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured = json.loads(done.stdout.splitlines()[-1])
            found[name].append(measured)
            numbers = " ".join(f"{key} {value:.4g}" for key, value in measured.items())
            print(f"round {repeat + 1}: {name}: {numbers}", flush=True)
    return found


def compare(found: dict[str, list[Measured]]) -> dict[str, Measured]:
    """Return medians per contestant, and how they stand to ours (median, lowest, highest round)."""
    table: dict[str, Measured] = {}
    for name, rounds in found.items():
        row = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        row["s per window"] = row["seconds"] / row["windows"]
        if OURS in found:
            pairs = list(zip(rounds, found[OURS], strict=True))
            for what in ("seconds", "added MiB"):
                each = [theirs[what] / ours[what] for theirs, ours in pairs]
                row[f"{what} / ours"] = [statistics.median(each), min(each), max(each)]
        table[name] = row
    return table


def print_table(table: dict[str, Measured]) -> None:
    """Print one line per contestant."""
    print(f"\n{'':14}{'s/window':>9}{'total s':>9}{'windows':>8}{'multi':>7}"
          f"{'peak MiB':>10}{'added MiB':>10}   time / ours (range)   added / ours")  # fmt: skip
    for name, row in table.items():
        line = f"{name:14}{row['s per window']:9.3f}{row['seconds']:9.1f}{row['windows']:8.0f}"
        line += f"{row['multi share']:7.2f}{row['peak MiB']:10.0f}{row['added MiB']:10.0f}"
        if "seconds / ours" in row:
            line += "   {:8.2f} ({:.2f}..{:.2f})".format(*row["seconds / ours"])
            line += f"{row['added MiB / ours'][0]:12.2f}"
        print(line)


def verdict(table: dict[str, Measured]) -> dict[str, bool]:
    """Return which targets are met."""
    met = {}
    for name, row in table.items():
        if name == OURS or "seconds / ours" not in row:
            continue
        wanted = FASTER_THAN_LOOP if name == LOOP else 1
        met[f"at least {wanted} x faster than {name}"] = row["seconds / ours"][0] >= wanted
        if name != LOOP:
            met[f"less memory than {name}"] = row["added MiB / ours"][0] > 1
    return met


def main(arguments: Sequence[str] | None = None) -> None:
    """Race them, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled", help="bundled, paper or a model file")
    parser.add_argument("--size", type=int, default=4 * STRIDE, help="a multiple of 192 px")
    parser.add_argument("--seed", type=int, default=EVALUATION_SEEDS_FROM)
    parser.add_argument("--preset", default="internal")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps-measured", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--section", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.contestant:
        print(json.dumps(contest(args)))
        return
    if args.size < 2 * STRIDE or args.size % STRIDE:
        parser.error(f"--size must be a multiple of {STRIDE} from {2 * STRIDE}, got {args.size}")
    section, _ = evaluation_section(args.size, args.seed, args.preset)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "section.npz"
        np.savez(path, **section.channels(), pixel_size_um=section.pixel_size_um)
        found = race(args, path)
    table = compare(found)
    print_table(table)
    print(f"\n{LOOP}: extrapolated from {args.steps_measured} steps to {PAPER_STEPS}")
    print("targets:", verdict(table))
    print("machine:", machine(), f"(load {os.getloadavg()[0]:.1f})")
    if args.json:
        report = {"arguments": vars(args), "table": table, "rounds": found}
        report |= {"targets": verdict(table), "machine": machine()}
        args.json.write_text(json.dumps(report, default=str, indent=1))


if __name__ == "__main__":
    main()
