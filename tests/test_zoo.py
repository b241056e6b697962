"""Hostile and odd inputs, under limits: each sixth of the zoo's quick part (all: `make zoo`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "zoo.py"


@pytest.mark.skipif(sys.platform != "linux", reason="the zoo forks, and limits what it forks")
def test_hostile_and_odd_inputs_are_refused_in_one_line_or_done_right():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--every", "36", "--processes", "2"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    *_, total = done.stdout.splitlines()
    assert total.endswith(", 0 failed")
