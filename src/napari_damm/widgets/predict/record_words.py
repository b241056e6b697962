"""A job record in a few lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_damm.engine.config import FULL
from napari_damm.util.text import printable


def record_words(record: Mapping[str, Any]) -> str:
    """Say what a prediction was made of and with, line by line."""
    return "\n".join(printable(line) for line in _lines(record))


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    model = record.get("model") or {}
    samples = record.get("samples", 1)
    mode = str(record.get("mode"))
    mode += f", {record.get('steps')} steps" if record.get("steps", 1) != 1 else ""
    mode += f", {samples} samples" if samples != 1 else ""
    views = record.get("views", 1)
    mode += f", mean of {views} views" if views != 1 else ""
    yield f"Model: {model.get('name')} ({str(model.get('sha256', ''))[:8]})"
    precision = record.get("precision", FULL)
    mode += f", in {precision}" if precision != FULL else ""
    yield f"Mode: {mode}, seed {record.get('seed')}, on {record.get('device')}"
    stated = dict.fromkeys(f"{side:g}" for side in record.get("stated_pixel_size_um") or ())
    against = f" (the file states {' x '.join(stated)} µm)" if stated else ""
    yield f"Pixels: {record.get('slide_pixel_size_um'):g} µm{against}, predicted at " + (
        f"{record.get('pixel_size_um'):g} µm"
    )
    given = record.get("input") or {}
    for role in ("vessels", "nuclei"):
        entry = given.get(role) or {}
        planes = [f"{axis}{entry[axis]}" for axis in ("z", "t", "image") if axis in entry]
        name = entry.get("name") or entry.get("path") or "a picture in memory"
        channel = entry.get("channel")
        of = f", channel {channel}" if channel not in (None, role, name) else ""
        yield f"{role.capitalize()}: {' '.join([str(name), *planes])}{of}"
    yield f"Part: {_part(record)}"
    if not record.get("finished"):
        yield "Not finished"
    versions = record.get("versions") or {}
    yield "With " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _part(record: Mapping[str, Any]) -> str:
    areas, roi = record.get("areas"), record.get("roi")
    if areas:
        number = len(areas["areas"])
        return f"{number} area{'s' if number > 1 else ''} of '{areas['name']}'"
    if roi:
        y0, x0, y1, x1 = roi
        of = f" of '{record['region_name']}'" if record.get("region_name") else ""
        return f"{y1 - y0:.0f} x {x1 - x0:.0f} px from y {y0:.0f}, x {x0:.0f}{of}"
    return "the whole image"
