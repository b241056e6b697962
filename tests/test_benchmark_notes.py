"""What a long measurement finds is kept part by part."""

from __future__ import annotations

import json
import time

import pytest
from notes import Notes


def test_a_part_that_fails_or_is_interrupted_loses_no_other(tmp_path):
    path = tmp_path / "found.json"
    notes = Notes(path, time.perf_counter() + 60, card="none")
    notes.take("first", lambda: {"speed": 1})
    notes.take("second", lambda: 1 / 0)
    notes.take("third", lambda: 3)
    with pytest.raises(KeyboardInterrupt):
        notes.take("fourth", _interrupted)
    found = json.loads(path.read_text())
    assert found["card"] == "none"
    assert (found["first"], found["third"]) == ({"speed": 1}, 3)
    assert found["second"].startswith("failed: ZeroDivisionError")


def test_no_part_is_begun_when_the_time_is_up():
    notes = Notes(None, time.perf_counter() - 1)
    notes.take("late", _interrupted)
    assert notes.found == {"late": "left out: the time is up"}


def _interrupted():
    raise KeyboardInterrupt
