"""Is "use" better than "with care", and that better than "do not use"? Error by verdict.

Reserved simulated sections of each preset are predicted (mode expected). Of every cell of 32 px the
mean absolute error against the noise-free field is compared with what the result says of it:

1. by verdict: share of the cells and mean error, and in how many sections the errors rise from
   verdict to verdict (of those that occur there);
2. risk and coverage: the mean error of the cells that are kept, if those with the widest interval
   are left out, or at random, or the most uncertain, or the least familiar;
3. by what makes a cell doubtful: images that are unusual, or nuclei that disagree, where the
   interval is narrow all the same, against cells of which nothing is said;
4. by predicted intensity: how much of the noise-free field lies in the 90 % intervals.

    python tests/benchmarks/trust_risk.py [--model FILE] [--sections 20] [--size 640]
        [--presets internal external] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measured_sections import predict_section
from report import print_table, write_json

from napari_damm import api
from napari_damm.engine.intervals import half_width
from napari_damm.engine.trusted import trust_map
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.store import Result
from napari_damm.trust.cells import DISAGREE, NARROW, CellTrust
from napari_damm.trust.verdict import UNKNOWN, UNUSUAL, VERDICTS
from napari_damm.util.tiling import CELL

PRESETS = ("internal", "external", "varied")
BRIGHTNESS = (0.0, 0.1, 0.2, 0.5, 0.7, np.inf)
KEPT = (0.25, 0.5, 0.75, 0.9, 1.0)
CODES = tuple(int(code) for code in CellTrust if code)


def cell_means(values: np.ndarray) -> np.ndarray:
    """Return means over the cells that a map (y, x) fills."""
    rows, cols = (n // CELL for n in values.shape)
    whole = values[: rows * CELL, : cols * CELL].astype(np.float64)
    return whole.reshape(rows, CELL, cols, CELL).mean(axis=(1, 3))


def held_by_intensity(result: Result, truth: np.ndarray) -> np.ndarray:
    """Return (intensities, 2) how many pixels are in the 90 % interval, and of how many."""
    predicted, half = np.asarray(result.np), half_width(result)
    assert half is not None
    inside = np.abs(predicted - truth) <= np.asarray(half)
    parts = np.digitize(predicted, BRIGHTNESS[1:-1])
    return np.array(
        [[inside[parts == k].sum(), (parts == k).sum()] for k in range(len(BRIGHTNESS) - 1)]
    )


def by_doubt(sections: Sequence[dict[str, np.ndarray]]) -> list[list[str]]:
    """Return a row for each doubt: the share of all cells that it is said of, and their error."""
    error, width, unfamiliar, uncertain = (
        np.concatenate([section[name] for section in sections])
        for name in ("error", "width of the interval", "unfamiliarity", "uncertainty")
    )
    familiar, narrow = 1 - unfamiliar, 2 * width <= NARROW
    doubts = {
        "none, narrow": (familiar >= UNUSUAL) & (uncertain <= DISAGREE) & narrow,
        "unusual images, narrow": (familiar < UNUSUAL) & (familiar >= UNKNOWN) & narrow,
        "unlike training images, narrow": (familiar < UNKNOWN) & narrow,
        "vessels and nuclei disagree, narrow": (uncertain > DISAGREE) & narrow,
        "none, or other; wider": ~narrow,
    }
    return [
        [name, f"{100 * here.mean():.1f} %", f"{error[here].mean():.3f}" if here.any() else "–"]
        for name, here in doubts.items()
    ]


def of_cells(result: Result, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return of every whole cell its error, verdict, and what may order cells: flat arrays."""
    error = cell_means(np.abs(np.asarray(result.np) - truth))
    rows, cols = error.shape
    verdict, half = trust_map(result), half_width(result)
    if verdict is None or half is None:
        raise SystemExit("the model does not say what it knows, or is not calibrated")
    maps = {
        "error": error,
        "verdict": verdict[:rows, :cols],
        "width of the interval": cell_means(np.asarray(half)),
        "uncertainty": np.asarray(result.uncertainty)[:rows, :cols],
        "unfamiliarity": 1 - np.asarray(result.familiarity)[:rows, :cols],
    }
    predicted = maps["verdict"] > 0
    return {name: values[predicted] for name, values in maps.items()}


def by_verdict(sections: Sequence[dict[str, np.ndarray]]) -> tuple[list[list[str]], int]:
    """Return a row for each verdict, and in how many sections the errors rise."""
    errors = np.array(
        [
            [s["error"][s["verdict"] == code].mean() if (s["verdict"] == code).any() else np.nan
             for code in CODES]
            for s in sections
        ]
    )  # fmt: skip
    there = [row[np.isfinite(row)] for row in errors]
    rising = sum(bool((np.diff(row) > 0).all()) for row in there)
    shares = [np.mean([(s["verdict"] == code).mean() for s in sections]) for code in CODES]
    rows = []
    for verdict, share, column in zip(VERDICTS, shares, errors.T, strict=True):
        known = column[np.isfinite(column)]
        mean = f"{known.mean():.3f}" if known.size else "–"
        rows.append([verdict, f"{100 * share:.1f} %", mean, str(known.size)])
    return rows, rising


def risk(section: dict[str, np.ndarray], order: str) -> list[float]:
    """Return the mean error of each share of the cells, the best by `order` first."""
    ranked = section["error"][np.argsort(section[order], kind="stable")]
    return [float(ranked[: max(1, round(share * ranked.size))].mean()) for share in KEPT]


def main() -> None:
    """Predict the sections and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--sections", type=int, default=20)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS[:2])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    model = api.load_model(asked.model)
    found = {}
    for preset in asked.presets:
        seeds = range(EVALUATION_SEEDS_FROM, EVALUATION_SEEDS_FROM + asked.sections)
        drawn = (simulate_slide(asked.size, seed, preset) for seed in seeds)
        made = [predict_section(each, model) for each in drawn]
        sections = [of_cells(*each) for each in made]
        rows, rising = by_verdict(sections)
        print_table(
            f"{preset}: errors rise by verdict in {rising} of {len(sections)} sections",
            ["", "share of cells", "mean error", "sections"],
            rows,
        )
        orders = ("width of the interval", "uncertainty", "unfamiliarity")
        curves = {name: np.mean([risk(s, name) for s in sections], axis=0) for name in orders}
        curves["at random"] = np.full(len(KEPT), np.mean([s["error"].mean() for s in sections]))
        print_table(
            f"{preset}: mean error of the cells that are kept",
            ["kept first", *(f"{100 * share:.0f} %" for share in KEPT)],
            [[name, *(f"{value:.3f}" for value in curve)] for name, curve in curves.items()],
        )
        doubts = by_doubt(sections)
        print_table(f"{preset}: by doubt", ["", "share of cells", "mean error"], doubts)
        counts = np.sum([held_by_intensity(*each) for each in made], axis=0)
        held = [f"{100 * inside / max(of, 1):.1f} %" for inside, of in counts]
        names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BRIGHTNESS)]
        print_table(
            f"{preset}: noise-free pixels in the 90 % interval, by predicted intensity",
            names,
            [held],
        )
        found[preset] = {
            "doubts": doubts,
            "held by intensity": dict(zip(names, held, strict=True)),
            "verdicts": rows,
            "rising": rising,
            "risk": {name: list(map(float, curve)) for name, curve in curves.items()},
        }
    write_json(asked.json, vars(asked), found=found)


if __name__ == "__main__":
    main()
