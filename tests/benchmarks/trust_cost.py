"""What trust costs: the look at a section before a run, and its share of a run.

    python tests/benchmarks/trust_cost.py [--size 16384] [--tissue 0.2] [--run 1024] [--rounds 3]
        [--mode expected] [--json FILE]

1. Before: a slide of `--size` px is written (pyramidal, tiled, compressed OME-TIFF, simulated
   tissue on a share of it), opened, and looked at: nine windows, as the widget does when layers are
   picked; what a run assesses before it begins is up to 16. The first look reads the file.
   By the clock it is what users wait for; seconds of processors hold on a busy machine too.
2. Share: processor seconds of the statistics of a window, of the look and of the shares at the end,
   over those of a whole prediction of `--run` px.

Target: the look under a second, the share under 3 %.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from report import print_table, write_json
from sparse_slide import Tissue, write_tiff

from napari_damm import api
from napari_damm.engine import pipeline, trusted
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.slide import slide_from_arrays
from napari_damm.trust import section

LOOK_S, SHARE = 1.0, 0.03
WARM_UP = (0.0, 0.0, 256.0, 256.0)


def looks(
    size: int, share: float, card: dict[str, object], rounds: int
) -> list[tuple[float, float]]:
    """Return seconds by the clock and of processors of each opening and look at a slide."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tiff(Path(folder) / "slide.ome.tif", size, share, Tissue())
        found = []
        for _ in range(rounds):
            start = time.perf_counter(), time.process_time()
            slide = api.open_slide(path)
            section.look(slide, card)
            found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return found


class Spent:
    """Processor seconds inside functions that are replaced by ones that count."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its processor seconds (of its thread) added up."""

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - start
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

        return call


def shares(model: object, side: int, mode: str) -> tuple[dict[str, float], float, int]:
    """Return processor seconds of trust by part, those of the whole run, and its windows."""
    drawn = simulate_slide(side, EVALUATION_SEEDS_FROM, "internal")
    images = {"vessels": drawn.vessels, "nuclei": drawn.nuclei}
    slide = slide_from_arrays(images, drawn.pixel_size_um)
    spent = Spent()
    places = (
        (pipeline, "window_statistics", "statistics of windows"),
        (trusted, "assess", "assessment before"),
        (trusted, "_cell_maps", "shares at the end"),
    )
    config = api.PredictConfig(mode=mode, device="cpu")
    *_, _ = api.predict(
        slide, model, replace(config, roi=WARM_UP)
    )  # what is imported late does not count
    originals = [getattr(module, name) for module, name, _ in places]
    for (module, name, title), original in zip(places, originals, strict=True):
        setattr(module, name, spent.counted(title, original))
    try:
        start = time.process_time()
        *_, finished = api.predict(slide, model, config)
        whole = time.process_time() - start
    finally:
        for (module, name, _), original in zip(places, originals, strict=True):
            setattr(module, name, original)
    return spent.seconds, whole, finished.result.record["windows"]


def main() -> None:
    """Measure both, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--tissue", type=float, default=0.2)
    parser.add_argument("--run", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", default="expected")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = api.load_model(None, "cpu")
    seconds = looks(asked.size, asked.tissue, model.card, asked.rounds)
    print_table(
        f"before a run of {asked.size} px: target under {LOOK_S:g} s",
        ["", "seconds by the clock", "of processors"],
        [
            ["first look", *seconds[0]],
            ["median", *(statistics.median(column) for column in zip(*seconds, strict=True))],
        ],
    )
    spent, whole, windows = shares(model, asked.run, asked.mode)
    rows = [[name, s, f"{s / whole:.2%}"] for name, s in spent.items()]
    total = sum(spent.values())
    rows += [["together", total, f"{total / whole:.2%}"], ["whole run", whole, ""]]
    print_table(
        f"{windows} windows, {asked.mode}: target under {SHARE:.0%} of the processor seconds",
        ["", "processor seconds", "share"],
        rows,
    )
    write_json(asked.json, vars(asked), looks=seconds, spent=spent, whole=whole, windows=windows)


if __name__ == "__main__":
    main()
