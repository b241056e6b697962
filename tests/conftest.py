"""One environment for all tests, set before Qt or torch are first imported."""

from __future__ import annotations

import os
import sys

import pytest

os.environ["QT_API"] = "pyqt6"
# Tiny networks on few cores: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if sys.platform == "linux":
    # Xvfb (started by pytest-xvfb) is an X server; napari's canvas fails on the others.
    os.environ["QT_QPA_PLATFORM"] = "xcb"


@pytest.fixture(scope="session")
def tiny_model():
    """A DAMM of 0.4 M random weights (4 x 4 px per confidence token); do not change it."""
    from models import random_model

    return random_model()
