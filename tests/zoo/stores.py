"""Results from elsewhere, opened and resumed."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("stores")
