"""Training folders and data to train or evaluate on."""

from __future__ import annotations

from zoo.case import Group

CASES = Group("trainings")
