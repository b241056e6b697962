"""Do intervals hold that were calibrated on some real fields, of others? All choices of them.

A model that learnt from none of them predicts dextran fields (`real_tracer`). Of each choice of one
to three fields intervals are fitted to their windows, as `calibrate` does, and it is said how much
of the truth of each other field they hold: on average, of the worst and the best field, and in how
many fields that is 85 to 95 %. Beside it that of intervals that take windows for sections. How the
factors spread that single fields need is printed before (`few_sections.SPREAD`).

    python tests/benchmarks/calibrated_fields.py --model FILE --fields 03 06 07 [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from real_tracer import ALL_FIELDS, DEXTRAN_UM, REAL, predicted, read_field
from report import print_table, write_json

from napari_damm.trust.intervals import FEWEST, OF_FEW, PIXELS_EACH, Intervals, Pair
from napari_damm.trust.widths import LEVEL, Widths
from napari_damm.util.tiling import WINDOW

MOST = 3
GOOD = 0.85, 0.95
Map = tuple[np.ndarray, np.ndarray]


def windows(pair: Map) -> Iterator[Pair]:
    """Yield some pixels of each window of a predicted and a true map."""
    height, width = pair[0].shape
    for y, x in itertools.product(range(0, height, WINDOW), range(0, width, WINDOW)):
        p, t = (each[y : y + WINDOW, x : x + WINDOW].ravel() for each in pair)
        if p.size >= WINDOW**2 / 4:
            some = np.random.default_rng(0).permutation(p.size)[:PIXELS_EACH]
            yield p[some], t[some]


def held(intervals: Intervals, pair: Map) -> float:
    """Return the share of the truth that lies inside."""
    return float(np.mean(np.abs(pair[1] - pair[0]) <= intervals.half_width(pair[0])))


def spread(maps: dict[str, Map]) -> float:
    """Return the standard deviation of the logarithm of the factors that fields need."""
    every = [pair for of_field in maps.values() for pair in windows(of_field)]
    p, t = (np.concatenate(each).astype(np.float64) for each in zip(*every, strict=True))
    widths = Widths.fit(p, t - p)
    needed = [np.quantile(np.abs(t - p) / widths.at(p), LEVEL) for p, t in maps.values()]
    return float(np.std(np.log(needed), ddof=1))


def main() -> None:
    """Predict the fields, calibrate on all choices, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--fields", nargs="+", choices=ALL_FIELDS, required=True)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not (REAL / "dextran").is_dir():
        print(f"no real pictures at {REAL}: nothing is judged")
        return
    maps: dict[str, Map] = {}
    for name in asked.fields:
        field = read_field(REAL / "dextran" / f"{name}.jpg", DEXTRAN_UM, 1.0)
        height, width = field.truth.shape
        made = np.asarray(predicted(asked.model, field).np, np.float32)[:height, :width]
        maps[name] = made, field.truth
    print(f"factors that fields need spread by {spread(maps):.2f}")
    rows = []
    for count in range(1, min(MOST, len(maps) - 1) + 1):
        shares: dict[str, list[float]] = {"sections": [], "windows": []}
        for chosen in itertools.combinations(maps, count):
            pairs, of = [], []
            for k, name in enumerate(chosen):
                these = list(windows(maps[name]))
                pairs, of = [*pairs, *these], [*of, *[k] * len(these)]
            if len(pairs) < FEWEST:
                continue
            for label, section_of in (("sections", of), ("windows", None)):
                fitted = Intervals.fit(pairs, OF_FEW, "image as taken", "", section_of)
                shares[label] += [held(fitted, maps[n]) for n in maps if n not in chosen]
        for label, found in shares.items():
            if found:
                inside = sum(GOOD[0] <= share <= GOOD[1] for share in found)
                cells = (f"{100 * f(found):.1f} %" for f in (np.mean, np.min, np.max))
                rows.append([f"{count}, {label}", *cells, f"{inside} of {len(found)}"])
    print_table(
        "truth of other fields in 90 % intervals, calibrated on so many fields",
        ["fields, units", "mean", "worst", "best", "85 to 95 %"],
        rows,
    )
    write_json(asked.json, vars(asked), found=rows)


if __name__ == "__main__":
    main()
