"""Paired sections on disk, and a model that fits the engine's windows, for tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from models import CARD, random_model, tiny_config

from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.evaluation.report import BRANCHES, Report, Row
from napari_damm.evaluation.summary import summarise
from napari_damm.model_file import save_model
from napari_damm.simulate import simulate_slide

FOLDERS = ("CD31", "DAPI", "QD")
QUICK = {"steps": 1}


def window_model(path: Path, seed: int = 0, **card: object) -> Path:
    """Save a model of random weights whose windows are those of the engine."""
    model = random_model(tiny_config((32,) * 4, (32,) * 4), seed)
    return save_model(model, path, {**CARD, "name": path.stem, **card})


def write_tiff(path: Path, *planes: np.ndarray, names: tuple[str, ...] = ()) -> Path:
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": 1.0,
        "PhysicalSizeY": 1.0,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
        **({"Channel": {"Name": list(names)}} if names else {}),
    }
    tifffile.imwrite(path, np.stack(planes), ome=True, metadata=metadata, photometric="minisblack")
    return path


def section_folder(folder: Path, count: int = 2, size: int = 256, first_seed: int = 10_000) -> Path:
    """Write simulated sections as one sub-folder per stain with equal file names."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    for k in range(count):
        drawn = simulate_slide(size, first_seed + k)
        images = (drawn.vessels, drawn.nuclei, drawn.nanoparticles)
        for name, image in zip(FOLDERS, images, strict=True):
            write_tiff(folder / name / f"s{k}.ome.tif", image)
    return folder


def section_file(path: Path, size: int = 256, seed: int = 10_000) -> Path:
    """Write a simulated section as one file with named channels."""
    drawn = simulate_slide(size, seed)
    images = (drawn.vessels, drawn.nuclei, drawn.nanoparticles)
    return write_tiff(path, *images, names=("vessels", "nuclei", "nanoparticles"))


def rows_of(values, model="m", distances=None):
    """Rows of sections s0, s1 ... with this SSIM, the same for all branches."""
    rows = []
    for k, value in enumerate(values):
        true, found = distances[k] if distances else (None, None)
        scores = {"ssim": value, "distance_truth_um": true, "distance_um": found}
        rows += [Row(f"s{k}", model, branch, scores) for branch in BRANCHES]
    return rows


def report_of(rows, models=("m",)):
    cards = [
        {"name": name, "summary": f"{name} of T1", "modalities": ["T1", "T2", "PET"]}
        for name in models
    ]
    config = EvaluateConfig()
    return Report(tuple(cards), config.to_dict(), (), tuple(rows), tuple(summarise(rows, config)))
