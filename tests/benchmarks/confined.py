"""From which signal inside the vessels on does a half-distance tell of it, and no more of tissue?

1. Vessels are those of simulated sections. Signal leaks from them as exp(-d / L), or not at all; in
   them it is so many times that at their edge.
2. The microscope blurs all of it by 1 or 2 um, an offset and noise are added, and half-distance
   and extravasation distance are measured as `analyze` does. Those of the leak alone are the truth.
3. By the ratio of the signal just inside to that just outside vessels, both above the far field
   (`analysis.profile.edge_ratio`; without the offset's part, which it leaves out: "raw"): how far
   the distances are off.
4. --real FOLDER: the same ratios and distances of pictures, red is vessels, green a real tracer.

    python tests/benchmarks/confined.py [--size 512] [--real ../shared/real/dextran] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import print_table, write_json
from scipy import ndimage
from skimage.io import imread

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.distance import distance_to, signed_distance
from napari_damm.analysis.profile import FARTHEST_UM, Shells, at_the_edge, half_distance, reach
from napari_damm.analysis.sources import array_map
from napari_damm.analysis.vessels import vessels_in
from napari_damm.analysis.walk import find_thresholds
from napari_damm.simulate import simulate_slide
from napari_damm.util.extravasation import extravasation_distance

Image = NDArray[np.floating]
SEED = 9001
LENGTHS_UM = (10.0, 20.0, 40.0)
BLURS_UM = (1.0, 2.0)
OFFSETS = (0.0, 0.5, 2.0)
INSIDE = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0)
NOISE = 0.05
EDGES = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, np.inf)
REAL_UM = 0.69


def vessels_of(image: Image, um: float) -> NDArray[np.bool_]:
    """Return what `analyze` takes for vessels."""
    section = array_map({"particles": image, "vessels": image}, um)
    finding = find_thresholds(section, AnalyzeConfig())
    while True:
        try:
            next(finding)
        except StopIteration as finished:
            found = finished.value["vessels"]
            return vessels_in(section, section.whole, found.value)


def measured(signal: Image, distance_um: Image) -> dict[str, float]:
    """Return both ratios and both distances; NaN where there is none."""
    shells = Shells()
    shells.add(signal.ravel().astype(float), distance_um.ravel())
    within, beyond, far = at_the_edge(shells.profile())
    half = half_distance(shells.outside())
    return {
        "raw": within / beyond,
        "ratio": (within - far) / (beyond - far) if beyond > far else np.inf,
        "l50": np.nan if half is None else half,
        "extravasation": extravasation_distance(reach(shells)),
    }


def simulated(size: int) -> Iterator[dict[str, float]]:
    """Yield what is measured of each case, and the truth."""
    rng = np.random.default_rng(0)
    for preset in ("internal", "external"):
        mask = vessels_of(np.asarray(simulate_slide(size, SEED, preset).vessels, np.float32), 1.0)
        distance = signed_distance(mask, (1.0, 1.0), FARTHEST_UM)
        away = distance_to(mask, (1.0, 1.0))
        for length, blur, offset in product(LENGTHS_UM, BLURS_UM, OFFSETS):
            leak = np.exp(-away / length)
            truth = measured(leak, distance)
            for leaks, inside in [(True, each) for each in INSIDE] + [(False, 1.0)]:
                seen = ndimage.gaussian_filter(np.where(mask, inside, leak * leaks), blur)
                seen += offset + rng.normal(0, NOISE, seen.shape)
                found = measured(seen, distance)
                off = {f"{name}_off": found[name] / truth[name] - 1
                       for name in ("l50", "extravasation")}  # fmt: skip
                yield {"leaks": leaks, "blur": blur, "offset": offset, **found, **off}


def by_ratio(cases: Sequence[dict[str, float]], name: str) -> Iterator[list[str]]:
    """Yield how far the distances are off, by a ratio."""
    for low, high in pairwise(EDGES):
        here = [case for case in cases if low <= case[name] < high]
        if here:
            half = 100 * np.array([case["l50_off"] for case in here])
            far = 100 * np.array([case["extravasation_off"] for case in here])
            middle, *ends = (np.nanpercentile(half, q) for q in (50, 10, 90))
            yield [f"{low:g} to {high:g}", str(len(here)), f"{middle:+.0f}",
                   f"{ends[0]:+.0f} to {ends[1]:+.0f}", f"{np.median(far):+.0f}"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = list(simulated(options.size))
    leaking = [case for case in cases if case["leaks"]]
    head = ["from, to below", "cases", "L50 off, %", "of 80 % of cases", "extravasation off, %"]
    for name in ("ratio", "raw"):
        print_table(f"what leaks, by {name}", head, list(by_ratio(leaking, name)))
    names = ("raw", "ratio", "l50", "extravasation")
    kept = {name: [case[name] for case in cases if not case["leaks"]] for name in names}
    spans = [[name, float(np.nanmin(each)), float(np.nanmax(each))] for name, each in kept.items()]
    print_table("what does not leak at all", ["", "lowest", "highest"], spans)
    real = []
    for path in sorted(options.real.glob("*.jpg")) if options.real else ():
        red, green, _ = np.moveaxis(imread(path).astype(np.float32), -1, 0)
        distance = signed_distance(vessels_of(red, REAL_UM), (REAL_UM, REAL_UM), FARTHEST_UM)
        real.append({"field": path.name, **measured(green, distance)})
    if real:
        print_table("real tracers", ["field", *names], [list(each.values()) for each in real])
    write_json(options.json, vars(options), simulated=cases, real=real)


if __name__ == "__main__":
    main()
