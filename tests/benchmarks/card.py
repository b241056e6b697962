"""Write onto a model's card what was measured of it.

Run: python tests/benchmarks/card.py --model FILE --results docs/results.json --out FILE
         [--history TEXT]

The results are those of tests/benchmarks/results.py; they must be of this very model. The card gets
the factor that makes the spread of samples a 90 % interval, the metrics with their intervals,
intended use, what it fails at, and how it was trained. Weights are not touched.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.lab import Lab
from evidence.settings import Settings

from napari_damm import api
from napari_damm.model_file import save_model

USE = (
    "to show how napari-damm works, and as a start for fine-tuning on own sections; not for "
    "conclusions on real tissue"
)
FAILS = (
    "real nanoparticles were never seen: what is predicted of real sections follows the simulator",
    "fine texture and single bright spots are drawn, not known: another seed draws others",
    "the uncertainty map knows the kinds of divergence that were planted: lost stain, blur, shift",
    "vessels unlike the simulator's: sheets, meshes, large arteries; folds, tears, saturated stain",
)
MEASURES = ("pearson_r", "ssim", "psnr", "std_ratio")


def metrics_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean, low and high of our scores by branch: fitted and not, against both truths."""
    found: dict[str, Any] = {"data": results["command"], "sections": results["sections"]}
    for preset, contestants in results["headline"]["means"].items():
        for name, views in contestants.items():
            if name.startswith(("gated", "uni", "multi")):
                found[f"{preset}, {name}"] = {
                    view: {m: brief(stats[m]) for m in MEASURES if m in stats}
                    for view, stats in views.items()
                }
    return found


def brief(stat: Mapping[str, Any]) -> list[float | None]:
    """Return mean, low and high, to four places."""
    return [None if stat[k] is None else round(stat[k], 4) for k in ("mean", "low", "high")]


def entries(results: Mapping[str, Any], history: str | None) -> dict[str, Any]:
    """Return what goes onto the card."""
    factor = results["trust"]["raw"]["factor"]
    if factor is None:
        raise ValueError("the results have no spread factor: measure the part trust first")
    made: dict[str, Any] = {
        "spread_factor": round(float(factor), 4),
        "metrics": metrics_of(results),
        "intended_use": USE,
        "limits": list(FAILS),
        "licence": "BSD-3-Clause",
    }
    return made if history is None else {**made, "history": history}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--history")
    args = parser.parse_args(arguments)
    results = json.loads(args.results.read_text("utf-8"))
    digest = Lab(Settings(args.out.parent, args.out.parent, args.model)).digest()
    if results["model"]["weights"] != digest:
        parser.error(
            f"{args.results} is of weights {results['model']['weights']}, the model has {digest}"
        )
    model = api.load_model(args.model, "cpu")
    save_model(model, args.out, entries(results, args.history))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
