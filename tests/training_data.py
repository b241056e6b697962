"""Small sections to train on, for tests: arrays, folders and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_damm.dataset import SectionSource


def blobs(shape: tuple[int, int], seed: int, spacing: int = 24) -> np.ndarray:
    """A picture with structure everywhere, uint16: smooth blobs and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / spacing
    phases = rng.uniform(0, 2 * np.pi, 4)
    waves = np.sin(y + phases[0]) * np.sin(x + phases[1]) + np.sin(2.3 * y + x + phases[2])
    return (2000 + 800 * waves + rng.normal(0, 40, shape)).clip(0, 65535).astype(np.uint16)


def images(shape: tuple[int, int] = (320, 576), seed: int = 0) -> dict[str, np.ndarray]:
    """Primary, secondary and target; the target is made of the other two."""
    primary, secondary = blobs(shape, seed), blobs(shape, seed + 100, 15)
    target = (0.6 * primary + 0.4 * secondary).astype(np.uint16)
    return {"primary": primary, "secondary": secondary, "target": target}


def layers(shape: tuple[int, int] = (320, 576), seed: int = 0, **options) -> SectionSource:
    """A section at 1 um per pixel."""
    return SectionSource(images(shape, seed), 1.0, **options)


def write_folder(path: Path, count: int = 6, side: int = 256, names=("CD31", "DAPI", "QD")) -> Path:
    """The authors' layout: one sub-folder per modality, equal file names."""
    for k in range(count):
        for name, image in zip(names, images((side, side), k).values(), strict=True):
            (path / name).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path / name / f"patch_{k:02d}.tif", image)
    return path


def write_slide(path: Path, shape: tuple[int, int] = (320, 576), seed: int = 0) -> Path:
    """An OME-TIFF with channels CD31, DAPI and QD at 1 um per pixel."""
    tifffile.imwrite(
        path,
        np.stack(list(images(shape, seed).values())),
        metadata={
            "axes": "CYX",
            "Channel": {"Name": ["CD31", "DAPI", "QD"]},
            "PhysicalSizeX": 1.0,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 1.0,
            "PhysicalSizeYUnit": "µm",
        },
    )
    return path
