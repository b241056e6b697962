"""Threads of one operation that do not wait for each other so busily that they stop each other.

Torch's threads (GNU's OpenMP on Linux) turn on the spot while they wait for the slowest of them. On
cores of their own they gain by it; where another program takes one of the cores, the one that is
waited for gets none, and beside several a step of a training may take ten times as long. So they
turn a short while only and sleep then: on free cores that costs a few percent.

It is read when torch is loaded; what the user has set in the environment stays.
"""

from __future__ import annotations

import os

SPINS = "2000"
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def shorten_busy_waits() -> None:
    """Say so to the libraries that this process, or a child of it, has not loaded yet."""
    if not any(name in os.environ for name in SETTINGS):
        os.environ[SETTINGS[0]] = SPINS
