"""Does a section give the same numbers in tiles as in one piece?

    python tests/benchmarks/analyze_tiles.py [--size 4096] [--tile 1024]

A section of winding vessels of all sizes, specks, particles around the vessels, nuclei and empty
corners is measured in tiles, and whole. Counts, thresholds and distances must be equal; sums of
intensities are added up in another order, so that they may differ in the last digits.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import ndimage

from napari_damm import api
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.report import AnalysisReport
from napari_damm.util.tiling import CELL


def section(side: int) -> ParticleMap:
    """Draw a section."""
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=(side, side)), 8)
    vessels = (smooth > 1.7 * smooth.std()).astype(np.float32)
    vessels += 0.02 * rng.random((side, side), np.float32)
    vessels[rng.random((side, side)) > 0.9995] = 1
    distance = ndimage.distance_transform_edt(vessels < 0.5)
    particles = np.exp(-distance / 25) + 0.05 * rng.random((side, side))
    spots = rng.random((side, side)) > 0.998
    nuclei = ndimage.gaussian_filter(spots.astype(np.float32), 2.5) * 40
    images = {"particles": particles.astype(np.float32), "vessels": vessels, "nuclei": nuclei}
    tissue = np.ones((-(-side // CELL),) * 2, bool)
    tissue[: side // 3 // CELL, : side // 4 // CELL] = tissue[-side // 7 // CELL :] = False
    return ParticleMap(
        name="drawn",
        shape=(side, side),
        pixel_um=(1.0, 1.0),
        origin=(0.0, 0.0),
        images={
            name: (lambda box, image=image: image[box.slices]) for name, image in images.items()
        },
        tissue=tissue,
        cell_px=CELL,
    )


def measured(drawn: ParticleMap, tile_px: int) -> AnalysisReport:
    """Measure the section in tiles of a size."""
    began = time.monotonic()
    *_, finished = api.analyze(api.MapLayers(drawn), api.AnalyzeConfig(tile_px=tile_px))
    print(f"tiles of {tile_px} px: {time.monotonic() - began:.0f} s", flush=True)
    report: AnalysisReport = finished.result
    return report


def main() -> None:
    """Measure twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--tile", type=int, default=1024)
    asked = parser.parse_args()
    drawn = section(asked.size)
    tiled, whole = (measured(drawn, px) for px in (asked.tile, asked.size))
    counts = [row.n for row in tiled.rows] == [row.n for row in whole.rows]
    profiles = [p.pixels for p in tiled.profiles] == [p.pixels for p in whole.profiles]
    thresholds = tiled.sections[0].thresholds == whole.sections[0].thresholds
    print(f"equal: counts {counts}, pixels by distance {profiles}, thresholds {thresholds}")
    for a, b in zip(tiled.rows, whole.rows, strict=True):
        if a.value is not None and b.value is not None:
            off = abs(a.value - b.value) / max(abs(b.value), 1e-12)
            print(
                f"  {a.measure:24} {b.value:<14.8g} {'equal' if off == 0 else f'off by {off:.1e}'}"
            )


if __name__ == "__main__":
    main()
