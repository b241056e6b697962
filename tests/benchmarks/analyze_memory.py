"""How much memory an analysis takes, and how long, by the size of the section.

    python tests/benchmarks/analyze_memory.py --size 16384 --tiles 64

The section is made up while it is read (winding vessels, particles around them, nuclei), so that
the picture itself takes no memory. With fewer `--tiles` than it has, the rest of it is glass: peak
memory is that of one tile and of what is added up, and hardly differs.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.measures import measures_of
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.regions import Tissue
from napari_damm.analysis.walk import count_section, find_thresholds
from napari_damm.util.tiling import CELL, Box


def vessels(box: Box) -> np.ndarray:
    """Stripes 12 um wide that wind, 150 um apart."""
    y, x = np.ogrid[box.y0 : box.y1, box.x0 : box.x1]
    wave = np.abs((y + 40 * np.sin(x / 90.0)) % 150 - 75)
    return (wave < 6).astype(np.float32)


def particles(box: Box) -> np.ndarray:
    """Signal that decays over 25 um from the stripes."""
    y, x = np.ogrid[box.y0 : box.y1, box.x0 : box.x1]
    wave = np.abs((y + 40 * np.sin(x / 90.0)) % 150 - 75)
    return np.exp(-np.maximum(wave - 6, 0) / 25).astype(np.float32)


def nuclei(box: Box) -> np.ndarray:
    """Round nuclei, 20 um apart."""
    y, x = np.ogrid[box.y0 : box.y1, box.x0 : box.x1]
    return (np.hypot(y % 20 - 10, x % 20 - 10) < 3.5).astype(np.float32)


def main() -> None:
    """Measure one section and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--tiles", type=int, default=64)
    asked = parser.parse_args()
    config = AnalyzeConfig()
    cells = -(-asked.size // CELL)
    tissue = np.zeros((cells, cells), bool)
    across, side = -(-asked.size // config.tile_px), config.tile_px // CELL
    for k in range(min(asked.tiles, across**2)):
        row, col = divmod(k, across)
        tissue[row * side : (row + 1) * side, col * side : (col + 1) * side] = True
    images = {"particles": particles, "vessels": vessels, "nuclei": nuclei}
    section = ParticleMap("made up", (asked.size, asked.size), (1.0, 1.0), images, tissue)
    before, started = _peak_mb(), time.monotonic()
    thresholds = _drive(find_thresholds(section, config))
    print(f"thresholds found after {time.monotonic() - started:.0f} s", flush=True)
    counts = _drive(count_section(section, [Tissue()], thresholds, config.tile_px))
    seconds = time.monotonic() - started
    print(f"{asked.size} px a side, tissue in {int(tissue.sum()) // side**2} tiles")
    print(f"peak memory {_peak_mb():.0f} MB (before: {before:.0f} MB), {seconds:.0f} s")
    for found in measures_of(counts.regions["tissue"], counts.cells["tissue"], thresholds):
        print(f"  {found.measure:24}{found.value}")


def _drive(work):
    while True:
        try:
            next(work)
        except StopIteration as finished:
            return finished.value


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
