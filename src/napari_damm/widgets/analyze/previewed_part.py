"""The part of a large section that a preview shows: around the middle of the view.

A vessel is a few um wide: on a copy whose pixels are wider, both the threshold and the share of
the vessels are others than those that are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.layer_slides import SlideRequest

if TYPE_CHECKING:
    from napari_damm.widgets.analyze.request import AnalyzeRequest

SIDE_UM = 1200.0
FINE_UM = 1.0
"""Pixels of a pyramid that are still fine enough to be read."""


def part_around(request: AnalyzeRequest, centre_um: Sequence[float]) -> AnalyzeRequest | None:
    """Return a request for what lies around a place (y, x) of its world; None of a small section.

    Raises
    ------
    ValueError
        If one of the images does not reach there.
    """
    asked = request.slide
    low, high = [], []
    for axis, centre in enumerate(centre_um):
        begin, end = asked.span_um("particles", axis)
        first = max(begin, min(centre - SIDE_UM / 2, end - SIDE_UM))
        low.append(first)
        high.append(min(end, first + SIDE_UM))
    if all(b - a >= e - s for a, b, (s, e) in zip(low, high, _spans(asked), strict=True)):
        return None
    parts = {role: _cut(asked, role, low, high) for role in asked.planes}
    cut = replace(
        asked,
        planes={role: [plane] for role, (plane, _, _) in parts.items()},
        pixel_sizes_um={role: side for role, (_, side, _) in parts.items()},
        origins_um={role: corner for role, (_, _, corner) in parts.items()},
    )
    return replace(request, slide=cut, result=None)  # its cells are those of the whole map


def _spans(asked: SlideRequest) -> list[tuple[float, float]]:
    return [asked.span_um("particles", axis) for axis in (0, 1)]


def _cut(
    asked: SlideRequest, role: str, low: Sequence[float], high: Sequence[float]
) -> tuple[Any, float, tuple[float, float]]:
    """Return the pixels of an image between two corners, their side, and where they begin."""
    levels = asked.planes[role]
    sides = [asked.pixel_sizes_um[role] * levels[0].shape[0] / each.shape[0] for each in levels]
    level = max((k for k, side in enumerate(sides) if side <= FINE_UM), default=0)
    plane, side = levels[level], sides[level]
    slices, corner = [], []
    for axis, (begin, end) in enumerate(zip(low, high, strict=True)):
        origin, size = asked.origins_um[role][axis], plane.shape[axis]
        first = int(np.clip(np.floor((begin - origin) / side), 0, size))
        last = int(np.clip(np.ceil((end - origin) / side), 0, size))
        if first >= last:
            layer = asked.sources[role].layer
            raise ValueError(f"'{layer}' does not reach to the middle of the view: move the view")
        slices.append(slice(first, last))
        corner.append(origin + first * side)
    return plane[tuple(slices)], side, (corner[0], corner[1])
