"""How long torch's threads wait for each other is said before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_damm.util.busy_waits import SETTINGS, SPINS, shorten_busy_waits


@pytest.fixture
def unset(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # put back afterwards, whatever is set meanwhile
    monkeypatch.delenv("GOMP_SPINCOUNT")


def test_they_turn_for_a_short_while(unset):
    shorten_busy_waits()
    assert os.environ["GOMP_SPINCOUNT"] == SPINS


@pytest.mark.parametrize(
    ("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")]
)
def test_what_the_user_set_stays(unset, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    shorten_busy_waits()
    assert {n: os.environ[n] for n in SETTINGS if n in os.environ} == {name: value}


@pytest.mark.parametrize(
    "code",
    [
        "from napari_damm.cli import main; main(['models', 'list'])",
        "from napari_damm.widgets.run.preload import preload_torch; preload_torch()",
    ],
    ids=["command", "widgets"],
)
def test_the_command_and_the_widgets_say_so_before_torch_is_there(unset, code):
    said = f"import os, sys; {code}; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", said], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == f"{SPINS} False"
