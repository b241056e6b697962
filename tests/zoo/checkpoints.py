"""Checkpoints of the authors' code: pickles in a zip."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("checkpoints")
