"""Whether the images beside a predicted map in a viewer are those that it was predicted from.

1. Whoever shows layers may show another slice of a stack, or another section, at the same place.
2. Layers are known by their pixels, files by their content; of a stack in a file the plane that was
   predicted is read again, and compared.
3. What is known to be another image is told wherever its numbers stand. It is not refused: it may
   be the same image with less noise.
4. So is a map that lies elsewhere beside its images than where it was predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.analysis.recorded_section import ROLES, same_file
from napari_damm.engine.reproduction import recorded_plane
from napari_damm.slide import Raster
from napari_damm.slide.identity import file_identity, identify_arrays
from napari_damm.slide.planes import Plane
from napari_damm.slide.readers import open_image

BAND_PIXELS = 4 * 2**20


def other_pictures(
    record: Mapping[str, Any], rasters: Mapping[str, Raster], files: Mapping[str, str | None]
) -> str:
    """Say which images are not those that a map was predicted from, "" where none is known to be.

    Parameters
    ----------
    record
        The job record of the map.
    rasters
        The images that are measured with it, by role.
    files
        Where they come from, by role, as far as that is known.
    """
    known = record.get("input")
    known = known if isinstance(known, Mapping) else {}
    seen = {role: rasters[role] for role in ROLES if role in rasters}
    seen = {role: raster for role, raster in seen.items() if isinstance(known.get(role), Mapping)}
    if known.get("kind") == "files":
        others = [role for role in seen if _is_other_file(known, role, seen[role], files.get(role))]
    else:
        now = identify_arrays(seen)
        others = [
            role
            for role in seen
            if (was := known[role].get("sha256")) is not None and was != now[role]["sha256"]
        ]
    if not others:
        return ""
    names = [f"'{name}'" for role in others if (name := known[role].get("name"))]
    of = f" ({' and '.join(names)})" if names else ""
    what = "image" if len(others) == 1 else "images"
    return (
        f"{' and '.join(others)} are not the {what} that this map was predicted from{of}: unless "
        "they show the same slice of the same section they do not belong to it, and every measure "
        "is wrong"
    )


def moved_maps(
    record: Mapping[str, Any],
    rasters: Mapping[str, Raster],
    now: tuple[float, float],
    then: tuple[float, float],
) -> str:
    """Say by how much a map lies elsewhere beside its images than it was predicted, or "".

    Parameters
    ----------
    record
        The job record of the map.
    rasters
        The images that are measured with it, by role.
    now, then
        Its upper left corner (y, x) in um, as it lies now and as it was predicted.
    """
    known = record.get("input")
    for role in ROLES:
        entry = known.get(role) if isinstance(known, Mapping) else None
        was = entry.get("origin_um") if isinstance(entry, Mapping) else None
        if was is None or role not in rasters:
            continue
        image = rasters[role]
        offsets = [
            (a - b) - (c - d) for a, b, c, d in zip(now, image.origin, then, was, strict=True)
        ]
        if max(map(abs, offsets)) > max(image.pixel_size_um, float(record["pixel_size_um"])):
            y, x = offsets
            return (
                f"this map lies {y:+.3g} um (down) and {x:+.3g} um (right) of where it was "
                f"predicted beside its {role}: if nobody meant that, move it back, for every "
                "measure is of another place"
            )
    return ""


def _is_other_file(known: Mapping[str, Any], role: str, raster: Raster, path: str | None) -> bool:
    """Return whether an image is known to be of another file, or another plane of its stack."""
    if path is None or not Path(path).exists():
        return False  # nothing tells
    if not same_file(file_identity(Path(path)), known[role]):
        return True
    plane = recorded_plane({each: known.get(each) or {} for each in ROLES})
    if not plane:
        return False
    file = open_image(path, **plane)
    if (channel := known[role].get("channel")) not in file.channels:
        return False
    recorded = file.planes[file.channels.index(channel)][0]
    return not _same_pixels(recorded, raster.planes[0])


def _same_pixels(one: Plane, other: Plane) -> bool:
    """Compare two images band by band."""
    if tuple(one.shape) != tuple(other.shape):
        return False
    height, width = one.shape
    step = max(1, BAND_PIXELS // max(1, width))
    for top in range(0, height, step):
        band = slice(top, min(top + step, height)), slice(0, width)
        if not np.array_equal(np.asarray(one[band]), np.asarray(other[band])):
            return False
    return True
