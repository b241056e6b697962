"""How bright is tissue that an analysis trusts, and what of a prediction is "use"?

Simulated sections are predicted (mode expected). Share of the area, and area brighter than 0.3 of
the predicted and of the true map: of all tissue; where vessels and nuclei agree and images are
familiar, as `analyze` has it; and where the prediction says "use", which asks for a narrow
interval as well.

    python tests/benchmarks/trusted_tissue.py [--sections 4] [--size 768] [--json FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measured_sections import predict_section
from report import print_table, write_json

from napari_damm import api
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.engine.trusted import trust_map
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.trust.cells import CellTrust
from napari_damm.trust.verdict import UNUSUAL
from napari_damm.util.tiling import CELL

PRESETS = ("internal", "external")
BRIGHT = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", type=int, default=4)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = api.load_model(device="cpu")
    limit = AnalyzeConfig().trusted_uncertainty
    found: dict[str, list[list[float]]] = {}
    for preset in PRESETS:
        for k in range(options.sections):
            drawn = simulate_slide(options.size, EVALUATION_SEEDS_FROM + k, preset)
            result, true = predict_section(drawn, model)
            seen = np.asarray(result.np)
            agree = np.asarray(result.uncertainty) <= limit
            kinds = {
                "all tissue": np.ones_like(agree),
                "trusted": agree & (np.asarray(result.familiarity) >= UNUSUAL),
                "use": trust_map(result) == CellTrust.USE,
            }
            for kind, cells in kinds.items():
                inside = np.kron(cells, np.ones((CELL, CELL))).astype(bool)
                inside = inside[: seen.shape[0], : seen.shape[1]]
                bright = [100 * float((each[inside] > BRIGHT).mean()) for each in (seen, true)]
                numbers = [100 * float(inside.mean()), *bright]
                found.setdefault(kind, []).append(numbers)
    head = ["tissue", "share, %", f"predicted above {BRIGHT}, %", f"true above {BRIGHT}, %"]
    rows = [[kind, *np.mean(numbers, axis=0).tolist()] for kind, numbers in found.items()]
    print_table(f"{2 * options.sections} simulated sections of {options.size} px", head, rows)
    write_json(options.json, vars(options), found=found)


if __name__ == "__main__":
    main()
