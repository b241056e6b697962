"""Disks as full as a test wants them."""

from __future__ import annotations

from typing import NamedTuple


class DiskUsage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int
