"""Does memory stay where it is, however large the slide?

Run: python tests/benchmarks/peak_memory.py [--sizes 4096 16384 100000] [--patches 24] [--patch 512]
         [--mode fast] [--steps 2] [--lanes 2] [--model FILE|tiny] [--json FILE]
     python tests/benchmarks/peak_memory.py --dense [--shape 6144 32768] [--lanes 2] [--json FILE]

1. Each slide is an OME-Zarr with a pyramid, uint16, with the same number of equal patches of
   tissue, spread over it, and zeros elsewhere, which are not stored.
2. Each is predicted into a store on disk by a process of its own, which reports its largest
   resident set as such and by part: loading (imports, model), planning (to `Planned`: tissue mask,
   normalisation, plan, forecast, empty store), running. Where the system allows it (Linux), the
   peak is reset in between; elsewhere only the whole is known.
3. `--dense` covers a strip with tissue and predicts it with a tiny random model in one step: all
   queues, shards and border windows are in use, in little time. Peaks are given per quarter of the
   windows: the last must not be above the second.

Targets: the largest slide within 150 MB of the smallest, and below 3 GB. Dense: growth from the
second quarter to the last below 5 % of the peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

MB = 1e6
SPREAD_MB = 150
MOST_MB = 3000
GROWTH = 0.05
QUARTERS = 4
Measured = dict[str, Any]


class PeakMemory:
    """The largest resident set of this process, in all and since it was last asked."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.lap()

    def lap(self) -> float | None:
        """Return the peak (MB) since the last lap; None where the system knows no such thing."""
        peak = self._now()
        self.largest = max(self.largest, peak)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return None
        return peak

    def _now(self) -> float:
        status = Path("/proc/self/status")
        if status.exists():
            # not ru_maxrss: that one begins with the size of whoever started the process
            lines = status.read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line[:6] == "VmHWM:") * 1024 / MB
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def load(name: str | None) -> DAMM:
    """Load a model, or make the tiny one."""
    from napari_damm import api

    if name != "tiny":
        return api.load_model(name, "cpu")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from models import CARD, random_model, tiny_config

    model = random_model(tiny_config((32, 32, 32, 32), (32, 32, 32)))
    model.card.update(CARD)
    return model


def predict(args: argparse.Namespace) -> Measured:
    """Predict one slide, in this process, and watch its memory."""
    import psutil

    peak = PeakMemory()
    from napari_damm import api
    from napari_damm.events import Planned

    model = load(args.model)
    slide = api.open_slide(args.slide)
    config = api.PredictConfig(
        mode=args.mode, steps=args.steps, lanes=args.lanes, shard=args.shard, device="cpu"
    )
    found: Measured = {"loaded MB": psutil.Process().memory_info().rss / MB}
    found["loading MB"] = peak.lap()
    with tempfile.TemporaryDirectory(dir=Path(args.slide).parent) as folder:
        start = time.perf_counter()
        events = api.predict(slide, model, config, Path(folder) / "result.ome.zarr")
        while not isinstance(planned := next(events), Planned):
            pass
        found["planning MB"], found["planning s"] = peak.lap(), time.perf_counter() - start
        found["quarters MB"] = quarters(events, planned.windows, peak)
        found["running s"] = time.perf_counter() - start - found["planning s"]
    known = [mb for mb in found["quarters MB"] if mb is not None]
    found["running MB"] = max(known) if known else None
    found |= {"windows": planned.windows, "shards": planned.shards, "peak MB": peak.largest}
    return found | {"forecast MB": planned.memory_bytes / MB}


def quarters(events: Iterator[object], windows: int, peak: PeakMemory) -> list[float | None]:
    """Drain the events; return the peak of each quarter of the windows."""
    from napari_damm.events import Tile

    peaks: list[float | None] = []
    for event in events:
        done = event.windows_done if isinstance(event, Tile) else 0
        if len(peaks) < QUARTERS - 1 and done * QUARTERS >= windows * (len(peaks) + 1):
            peaks.append(peak.lap())
    return [*peaks, peak.lap()]


def write_slide(args: argparse.Namespace) -> None:
    """Write the slide that the arguments ask for."""
    from sparse_slide import Tissue, cover, spread, write_zarr

    height, width = args.shape
    boxes = cover((height, width)) if args.dense else spread(width, args.patches, args.patch)
    write_zarr(Path(args.slide), (height, width), boxes, Tissue())


def in_its_own_process(part: str, args: argparse.Namespace, shape: Sequence[int]) -> Measured:
    """Run a part of this program in a fresh process."""
    values: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("mode", "steps", "lanes", "shard", "patches", "patch")
    }
    values |= {"model": args.model, "slide": args.slide}
    command = [sys.executable, __file__, "--part", part, "--shape", *map(str, shape)]
    for name, value in values.items():
        command += [] if value is None else [f"--{name}", str(value)]
    command += ["--dense"] if args.dense else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Measured = json.loads(done.stdout.splitlines()[-1]) if part == "predict" else {}
    return measured


def measure(args: argparse.Namespace, shapes: Sequence[Sequence[int]]) -> dict[str, Measured]:
    """Write and predict a slide of each shape."""
    found = {}
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            args.slide = str(Path(folder) / "slide.ome.zarr")
            in_its_own_process("write", args, shape)
            name = f"{shape[1]} x {shape[0]} px"
            found[name] = in_its_own_process("predict", args, shape)
            print(name, f"{found[name]['peak MB']:.0f} MB", flush=True)
    return found


def verdict(found: Mapping[str, Measured], dense: bool) -> dict[str, bool]:
    """Return which targets are met."""
    rows = list(found.values())
    if dense:
        peaks = rows[0]["quarters MB"]
        growth = peaks[-1] - peaks[1] if None not in peaks else float("nan")
        return {f"grows less than {GROWTH:.0%}": growth < GROWTH * rows[0]["peak MB"]}
    spread_mb = rows[-1]["peak MB"] - rows[0]["peak MB"]
    return {
        f"largest slide within {SPREAD_MB} MB of the smallest": spread_mb <= SPREAD_MB,
        f"below {MOST_MB} MB": rows[-1]["peak MB"] < MOST_MB,
    }


def print_found(found: Mapping[str, Measured]) -> None:
    """Print one line per slide."""
    from report import print_table

    head = ["loaded MB", "loading MB", "planning MB", "running MB", "peak MB", "forecast MB"]
    head += ["windows", "shards", "planning s", "running s"]
    rows = [[name, *(row[key] for key in head)] for name, row in found.items()]
    print_table("peak memory", ["slide", *head], rows)
    rows = [[name, *row["quarters MB"]] for name, row in found.items()]
    print_table("running, by quarter of the windows, MB", ("slide", "1", "2", "3", "4"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every slide, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 16384, 100_000])
    parser.add_argument("--patches", type=int, default=24)
    parser.add_argument("--patch", type=int, default=512, help="px, a multiple of 128")
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--shape", type=int, nargs=2, default=[6144, 32768])
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--shard", type=int, default=3072, help="px; smaller for a quick look")
    parser.add_argument("--model", help="a model file, or tiny")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=["write", "predict"], help=argparse.SUPPRESS)
    parser.add_argument("--slide", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.steps = args.steps or (1 if args.dense else 2)
    args.model = args.model or ("tiny" if args.dense else None)
    if args.part == "write":
        return write_slide(args)
    if args.part == "predict":
        return print(json.dumps(predict(args)))
    from report import write_json

    found = measure(args, [args.shape] if args.dense else [(n, n) for n in args.sizes])
    print_found(found)
    met = verdict(found, args.dense)
    print("targets:", met)
    write_json(args.json, vars(args), slides=found, targets=met)


if __name__ == "__main__":
    main()
