"""Pictures: TIFF, OME-TIFF, PNG and what is no picture at all."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("pictures")
