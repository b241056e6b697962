"""OME-Zarr images from elsewhere."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("ome zarr")
