"""Is a result the same, bit for bit, however it was computed and however often it was killed?

Run: python tests/benchmarks/invariance.py [--size 1536] [--steps 3] [--kills 20]
         [--model bundled|tiny|FILE] [--shard 512] [--json FILE]

1. A simulated section is predicted once, in one lane and one shard: the reference.
2. The same in other shards, orders, lanes, worker processes and on a local dask cluster.
3. A region, beside the crop of the reference.
4. As many runs as `--kills`, each SIGKILLed at another moment (tests/crashing.py) and resumed to
   the end: digest, and shards that were stored before the kill must not be computed again.

Exit code 1 if anything differs.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import crashing
import jobs

from napari_damm.events import Planned, ShardDone, Tile
from napari_damm.store import Result, ResultStore

# Early, midway and late moments of each kind; of the kinds a long job has most, most.
MOMENTS = [
    ("denoising step", 0.02), ("shard array", 0.1), ("fsync", 0.5), ("journal", 0.3),
    ("journal line", 0.5), ("status", 0.4), ("rename", 0.6), ("denoising step", 0.5),
    ("finish", 1.0), ("creation", 0.5), ("fsync", 0.9), ("shard array", 0.7),
    ("journal", 0.9), ("journal line", 0.9), ("status", 0.9), ("rename", 0.95),
    ("denoising step", 0.9), ("fsync", 0.05), ("journal line", 0.1), ("shard array", 0.95),
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One way of computing: its digest, and whether all is as it should be."""

    name: str
    digest: str
    equal: bool
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """The job, in a folder, and how it is computed unless a case says otherwise."""

    folder: Path
    wishes: dict[str, Any]

    def run(self, out: Path | None, resume: bool = False, **more: Any) -> list[Any]:
        """Run to the end; the events."""
        return list(jobs.predict(self.folder, out, resume, **self.wishes | more))


def main() -> int:
    """Run all cases and print the table."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="invariance-") as place:
        folder = Path(place)
        prepare(folder, options.size, options.model)
        bench = Bench(folder, {"steps": options.steps, "shard": options.shard, "gamma": 0.5})
        cases = []
        for case in compare(bench, options.kills):
            cases.append(case)
            print(row(case), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(case) for case in cases], indent=2) + "\n")
    different = [case.name for case in cases if not case.equal]
    print(f"{len(cases) - len(different)} of {len(cases)} as the reference")
    return 1 if different else 0


def compare(bench: Bench, kills: int) -> Iterator[Case]:
    """Yield the cases, the reference first."""
    started = time.monotonic()
    events = bench.run(None, shard=3072, lanes=1)
    reference = events[-1].result
    expected = reference.digest()
    yield Case("1 lane, 1 shard", expected, True, time.monotonic() - started, "the reference")
    ways: dict[str, dict[str, Any]] = {
        "2 lanes": {"lanes": 2},
        "2 lanes, shards of 320": {"lanes": 2, "shard": 320},
        "shards of 128, from the centre": {"shard": 128, "order": "centre"},
        "2 worker processes": {"workers": 2, "lanes": 1},
    }
    for name, more in ways.items():
        yield timed(name, expected, bench, **more)
    yield region(bench, reference)
    with local_cluster() as client:
        if client is not None:
            yield timed("dask cluster of 2 processes", expected, bench, client=client)
    counts = count_moments(bench)
    for k in range(kills):
        point, share = MOMENTS[k % len(MOMENTS)]
        yield killed(bench, point, max(1, round(share * counts[point])), expected)


def timed(name: str, expected: str, bench: Bench, **more: Any) -> Case:
    """Run one way and compare."""
    started, out = time.monotonic(), bench.folder / "way.ome.zarr"
    found = bench.run(out, **more)[-1].result.digest()
    shutil.rmtree(out)
    return Case(name, found, found == expected, time.monotonic() - started)


def region(bench: Bench, reference: Result) -> Case:
    """Compare a region with the crop of the whole."""
    started, size = time.monotonic(), min(reference.np.shape)
    y0, x0, y1, x1 = size // 7, size // 5, size - size // 9, size - size // 4
    part = bench.run(None, roi=(y0, x0, y1, x1), lanes=1)[-1].result
    height, width = part.np.shape
    # the model's pixels: the section's, divided by what one of them measures
    scale = reference.pixel_size_um
    top, left = (round(corner / scale) for corner in part.origin)
    crop = np.asarray(reference.np[top : top + height, left : left + width])
    same = np.array_equal(np.asarray(part.np), crop)
    cells = part.branch.shape
    for name in ("uncertainty", "branch"):
        whole = np.asarray(getattr(reference, name))[top // 32 :, left // 32 :]
        same &= np.array_equal(np.asarray(getattr(part, name)), whole[: cells[0], : cells[1]])
    digest = hashlib.sha256(np.asarray(part.np).tobytes()).hexdigest()
    note = f"y {top}..{top + height}, x {left}..{left + width}, beside the crop"
    return Case("a region", digest, bool(same), time.monotonic() - started, note)


@contextmanager
def local_cluster() -> Iterator[Any]:
    """Two worker processes of one thread; None where `distributed` is not installed."""
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        yield None
        return
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def count_moments(bench: Bench) -> dict[str, int]:
    """How often a whole run comes by each point."""
    out, counts = bench.folder / "count.ome.zarr", bench.folder / "counts.json"
    code = crashing.in_another_process(
        crashing.count, bench.folder, out, counts, bench.wishes | {"lanes": 1}, timeout=3600
    )
    if code != 0:
        raise RuntimeError(f"a run that nothing befell ended with {code}")
    shutil.rmtree(out)
    found: dict[str, int] = json.loads(counts.read_text())
    return found


def killed(bench: Bench, point: str, nth: int, expected: str) -> Case:
    """Kill a run at a moment, resume it, and compare."""
    started, out = time.monotonic(), bench.folder / "killed.ome.zarr"
    wishes = bench.wishes | {"lanes": 1}
    code = crashing.in_another_process(
        crashing.crash, point, nth, bench.folder, out, wishes, False, timeout=3600
    )
    before: set[tuple[int, int]] = set()
    if out.exists():
        with ResultStore.reopen(out) as store:
            before = store.settled()
    events = bench.run(out, resume=True)
    planned: Planned = jobs.of(Planned, events)[0]
    again = {(e.row, e.col) for e in jobs.of(ShardDone, events)} & before
    windows = len(jobs.of(Tile, events))
    found = events[-1].result.digest()
    good = found == expected and code == -9 and not again
    good &= windows == planned.windows - planned.windows_done
    note = f"{len(before)} of {planned.shards} shards kept, {windows} windows computed again"
    if code != -9:
        note = f"it ended with {code}"
    shutil.rmtree(out)
    name = f"SIGKILL: {point} {nth}, resumed"
    return Case(name, found, good, time.monotonic() - started, note)


def prepare(folder: Path, size: int, model: str) -> None:
    """Put section and model into the folder."""
    from napari_damm.model_file import find_model
    from napari_damm.simulate import simulate_slide, write_section

    write_section(simulate_slide(size, 10_003), folder / "section.ome.tif")
    if model == "tiny":
        jobs.write_model(folder / "tiny.safetensors")
    else:
        source = find_model() if model == "bundled" else Path(model)
        shutil.copy(source, folder / "tiny.safetensors")


def row(case: Case) -> str:
    """One line of the table."""
    verdict = "equal" if case.equal else "DIFFERENT"
    return f"{case.name:38} {case.digest[:16]}  {verdict:9} {case.seconds:6.1f} s  {case.note}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1536)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--shard", type=int, default=512)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
