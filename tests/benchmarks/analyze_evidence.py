"""Which measures a predicted map gives: predicted against true, over reserved simulated sections.

    python tests/benchmarks/analyze_evidence.py [--sections 20] [--size 640] [--mode expected]
        [--presets internal external] [--samples K] [--rows FILE.jsonl] [--page docs/measures.md]

1. Each section is predicted from its vessels and nuclei. Measures of the prediction are compared
   with those of the noise-free particles, by the same vessels; each map has its own threshold
   (Otsu's).
2. Per preset and measure: ICC(3,1), sections being the subjects, the mean of both, the bias
   (predicted minus true) with its standard deviation, and how many true ones lie in the interval
   that the report gives (of the model's card, or of `--samples`).
3. --rows keeps every section's numbers: started again, it goes on where it stopped. --page writes
   the page from what is there. A page tells of maps without samples and with them, if both are in
   the rows. Intervals of maps without samples are those that the card gives today.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from measured_sections import measure_section
from measures_page import page, table

from napari_damm import api
from napari_damm.analysis.intervals import OF_PARTICLES, interval
from napari_damm.analysis.measures import Measured
from napari_damm.analysis.regions import TISSUE, Tissue
from napari_damm.model.damm import DAMM
from napari_damm.model_file import content_hash
from napari_damm.simulate import EVALUATION_SEEDS_FROM
from napari_damm.trust.intervals import Intervals
from napari_damm.util.files import replace_file

Row = dict[str, Any]


def weights_of(model: DAMM) -> str:
    """Return what a model's weights are known by."""
    return content_hash(model)[:12]


def measured(model: DAMM, asked: argparse.Namespace, preset: str, seed: int) -> Row:
    """Predict and measure one section: of each measure true, predicted, low and high."""
    config = api.PredictConfig(mode=asked.mode, samples=asked.samples)
    found = measure_section(api.simulate_slide(asked.size, seed, preset), model, config)
    numbers = {}
    for name in OF_PARTICLES:
        row = next(r for r in found.predicted.rows if (r.measure, r.region) == (name, TISSUE))
        numbers[name] = [found.true.value(name), row.value, row.low, row.high]
    return {**key(asked, preset, seed), "weights": weights_of(model), "measures": numbers}


def key(asked: argparse.Namespace, preset: str, seed: int) -> Row:
    """Return what tells a row from others."""
    return {
        "preset": preset, "seed": seed, "size": asked.size,
        "mode": asked.mode, "samples": asked.samples,
    }  # fmt: skip


def read_rows(path: Path | None, weights: str) -> list[Row]:
    """Return the rows that were kept of these weights; those of others count no more."""
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if row["weights"] == weights]


def missing(rows: Sequence[Row], asked: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield the presets and seeds that are still to be measured."""
    done = [{name: row[name] for name in key(asked, "", 0)} for row in rows]
    for preset in asked.presets:
        for seed in range(EVALUATION_SEEDS_FROM, EVALUATION_SEEDS_FROM + asked.sections):
            if key(asked, preset, seed) not in done:
                yield preset, seed


def with_intervals(rows: Sequence[Row], known: Intervals | None) -> list[Row]:
    """Return rows whose expected maps have the intervals that the card gives."""
    given = []
    for row in rows:
        if row["samples"] > 1:
            given.append(row)
            continue
        numbers = {}
        beside = {name: predicted for name, (_, predicted, *_) in row["measures"].items()}
        for name, (true, predicted, *_) in row["measures"].items():
            low, high, _ = interval(known, Tissue(), Measured(name, predicted, 1), beside)
            numbers[name] = [true, predicted, low, high]
        given.append({**row, "measures": numbers})
    return given


def plain(row: Mapping[str, Any]) -> str:
    """Return a row as a line of JSON, in five digits."""

    def short(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")

    numbers = {name: [short(v) for v in four] for name, four in row["measures"].items()}
    return json.dumps({**row, "measures": numbers})


def main() -> None:
    """Measure what is missing, print the tables, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sections", type=int, default=20)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--presets", nargs="+", default=["internal", "external"])
    parser.add_argument("--mode", default="expected")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--model")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    model = api.load_model(asked.model)
    rows = read_rows(asked.rows, weights_of(model))
    todo = list(missing(rows, asked))
    for preset, seed in todo:
        row = measured(model, asked, preset, seed)
        print(f"{preset} {seed}", flush=True)
        rows.append(row)
        if asked.rows is not None:
            with asked.rows.open("a") as file:
                file.write(plain(row) + "\n")
    rows = with_intervals(rows, Intervals.of_card(model.card))
    for preset in asked.presets:
        mine = [r for r in rows if r["preset"] == preset and r["samples"] == asked.samples]
        print(f"\n{len(mine)} sections of {asked.size} px, preset {preset}")
        print("\n".join(table(mine)))
    if asked.page is not None:
        replace_file(asked.page, page(rows).encode())


if __name__ == "__main__":
    main()
