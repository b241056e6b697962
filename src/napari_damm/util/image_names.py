"""Which files are images, by their names alone: to list them, never to read them."""

from __future__ import annotations

from pathlib import Path

TIFF_ENDINGS = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".svs", ".ndpi", ".scn", ".qptiff")
IMAGE_ENDINGS = (
    *TIFF_ENDINGS,
    ".ome.zarr",
    ".zarr",
    ".png",
    ".jpg",
    ".jpeg",
    ".czi",
    ".lif",
    ".lof",
)


def is_named_as_image(path: Path) -> bool:
    """Return whether a name is that of an image, and not hidden."""
    return path.name.lower().endswith(IMAGE_ENDINGS) and not path.name.startswith(".")


def first_image_in(folder: Path) -> Path | None:
    """Return the first of the images in a folder, None where there is none or no looking in."""
    try:
        return min(filter(is_named_as_image, folder.iterdir()), default=None)
    except OSError:
        return None
