"""Command lines that ask for what there is not."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("command lines")
