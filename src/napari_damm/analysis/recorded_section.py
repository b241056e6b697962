"""The picture that a result was predicted from: vessels and nuclei are read from there.

1. The result remembers it: the file, channels, plane and pixel size. A file that has changed since
   is refused, and so is another pixel size, which would measure everything on another scale.
2. Where it has moved, `section` says where it is. The same content is the same picture. Another
   size is refused; of the same size it may be a copy that was saved anew, or not: a caution says so
   wherever its numbers stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_damm.analysis.sources import MapSource
from napari_damm.engine.reproduction import recorded_plane
from napari_damm.slide import Slide, open_slide
from napari_damm.slide.identity import identify_arrays
from napari_damm.store import Result
from napari_damm.util.advice import Advice

REMEDY = "give the picture it was predicted from as {section}"
ROLES = ("vessels", "nuclei")
SAME_SIZE_UM = 1e-3
"""Relative: sizes are written with a few digits."""
Known = Mapping[str, Any]


def section_of(source: MapSource, result: Result) -> tuple[Slide, str]:
    """Open the picture that a result was predicted from; with a caution, or "".

    Raises
    ------
    ValueError
        If it was predicted from arrays, the file has changed, or what is given is another picture
        or another pixel size.
    OSError
        If the file is not there any more.
    """
    known = result.record.get("input", {})
    from_files = known.get("kind") == "files"
    vessels, nuclei = (dict(known.get(role) or {}) for role in ROLES)
    if source.section is None and not from_files:
        raise ValueError(Advice(f"{source.path} was predicted from layers or arrays", REMEDY))
    if source.section is None and not isinstance(vessels.get("path"), str):
        raise ValueError(Advice(f"{source.path} does not say which file it is of", REMEDY))
    size = _pixel_size(source, result, vessels)
    path = Path(source.section or vessels["path"])
    if not path.exists():
        problem = f"{path}, which {source.path} was predicted from, is not there"
        raise FileNotFoundError(Advice(problem, REMEDY))
    if not from_files:
        # its channels have the names of the roles, whatever the picture calls them
        vessels, nuclei = {}, {}
    beside = _nuclei_file(source, vessels, nuclei)
    channel = nuclei.get("channel")
    if beside is not None and channel is not None:
        channel = str(channel).removesuffix(f" ({Path(beside).name})")
    chosen = recorded_plane({"vessels": vessels, "nuclei": nuclei}) | plane_of(source)
    slide = open_slide(
        path,
        nuclei=beside,
        vessels_channel=_first(source.vessels_channel, vessels.get("channel")),
        nuclei_channel=_first(source.nuclei_channel, channel),
        pixel_size_um=size,
        coarse_pixels=True,  # whoever predicted it has said so
        **chosen,
    )
    if source.section is not None:
        return slide, _caution(source.section, source.path, slide, result)
    now = slide.identity.get("vessels", {}).get("sha256_ends")
    if now != vessels.get("sha256_ends"):
        problem = f"{path} has changed since {source.path} was predicted from it"
        raise ValueError(Advice(problem, f"predict it again, or {REMEDY}"))
    return slide, ""


def plane_of(source: MapSource) -> dict[str, Any]:
    """Return which image of a file, and which plane of a stack, as far as it is said."""
    said = {"image": source.image, "z": source.z, "t": source.t}
    return {name: value for name, value in said.items() if value is not None}


def _pixel_size(source: MapSource, result: Result, vessels: Known) -> float | None:
    """Return the pixel size that a result remembers; what is given must be the same."""
    recorded = _first(vessels.get("pixel_size_um"), result.record.get("slide_pixel_size_um"))
    given = source.pixel_size_um
    if recorded is None or given is None:
        return recorded if given is None else given
    if not math.isclose(given, recorded, rel_tol=SAME_SIZE_UM):
        problem = f"{source.path} was predicted at {recorded:g} um per pixel, not at {given:g}"
        raise ValueError(Advice(problem, "leave out {pixel_size_um}, a result remembers its own"))
    return float(recorded)


def _caution(given: str | Path, result_path: str | Path, slide: Slide, result: Result) -> str:
    """Say what is not known of a picture that is given; "" where it is the recorded one.

    Raises
    ------
    ValueError
        If its size shows that it is another.
    """
    known = result.record.get("input", {})
    _check_size(given, result_path, slide, result)
    if known.get("kind") == "files":
        same = all(same_file(slide.identity.get(role), known.get(role)) for role in ROLES)
    else:
        rasters = {"vessels": slide.vessels, "nuclei": slide.nuclei}
        now = identify_arrays(rasters)
        same = all(_same("sha256", now[role], known.get(role) or {}) for role in ROLES)
    if same:
        return ""
    name = (known.get("vessels") or {}).get("name")
    of = f", {name}" if name else ""
    return (
        f"{Path(given).name} has the size of the picture that {Path(result_path).name} was "
        f"predicted from{of}, but not its content: unless it shows the same section, vessels and "
        "cells are not those of this map, and every measure is wrong"
    )


def _check_size(given: str | Path, result_path: str | Path, slide: Slide, result: Result) -> None:
    """Refuse a picture of another size; of what is not recorded, the map must lie in it."""
    vessels = result.record.get("input", {}).get("vessels") or {}
    lattice = result.record.get("lattice")
    wanted = _shape(vessels.get("shape"))
    if wanted is not None:
        found, unit = slide.vessels.shape, "px"
        fits = wanted == found
    else:
        height, width = (round(n / result.pixel_size_um) for n in slide.vessels.extent_um)
        found, unit = (height, width), "px of the map"
        recorded = _shape(lattice.get("shape")) if isinstance(lattice, Mapping) else None
        part = result.record.get("roi") or result.record.get("areas")
        wanted = recorded or (result.np.shape[0], result.np.shape[1])
        # The map may have a pixel more: it covers what it lies on.
        gaps = [m - n for n, m in zip(wanted, found, strict=True)]
        fits = all(gap >= -1 and (gap <= 1 or (recorded is None and part)) for gap in gaps)
    if not fits:
        problem = (
            f"{given} is another picture than {result_path} was predicted from: it has "
            f"{found[0]} x {found[1]} {unit}, that had {wanted[0]} x {wanted[1]}"
        )
        raise ValueError(Advice(problem, REMEDY))


def _shape(value: Any) -> tuple[int, int] | None:
    """Return a recorded shape (y, x); None of what is none."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_count, value)):
        return value[0], value[1]
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def same_file(now: Known | None, known: Known | None) -> bool:
    """Return whether two files are known to hold the same."""
    if now is None or known is None:
        return False
    if "sha256_content" in now and "sha256_content" in known:
        return _same("sha256_content", now, known)
    return _same("sha256_ends", now, known)


def _same(key: str, now: Known, known: Known) -> bool:
    return known.get(key) is not None and now.get(key) == known[key]


def _nuclei_file(source: MapSource, vessels: Known, nuclei: Known) -> Path | None:
    """Return the file of the nuclei, where they have one of their own.

    Where the picture has moved, it is looked for beside it.
    """
    there = nuclei.get("path")
    if there is None or there == vessels.get("path"):
        return None
    if source.section is not None:
        moved = Path(source.section).parent / Path(there).name
        if moved.exists():
            return moved
    return Path(there)


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)
