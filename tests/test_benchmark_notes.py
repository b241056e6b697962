"""What a long measurement finds is kept part by part."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from notes import Notes
from supervised import supervised


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


PARTS = """
import json, os, sys, time
from pathlib import Path
from notes import Notes

path, minutes, names = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
before = json.loads(path.read_text()) if path.exists() else {}
notes = Notes(path, time.perf_counter() + 60 * minutes, **before)
works = {"aborts": os.abort, "fails": lambda: 1 / 0}
for name in names:
    if notes.take(name, works.get(name, os.getpid)):
        sys.exit("no card any more")
"""


def test_a_part_that_ends_its_process_loses_no_other(tmp_path):
    path = tmp_path / "found.json"
    path.write_text('{"first": "of an earlier run"}')
    benchmarks = str(Path(supervised.__code__.co_filename).parent)

    def command(names, minutes):
        return [
            sys.executable, "-c",
            f"import sys; sys.path.insert(0, {benchmarks!r})\n{PARTS}",
            str(path), str(minutes), *names,
        ]  # fmt: skip

    names = ["first", "second", "fails", "third", "aborts", "fourth"]
    found = supervised(command, names, path, minutes=10)
    assert list(found) == names
    assert found["first"] == found["second"]
    assert len({found["first"], found["third"], found["fourth"]}) == 3
    assert found["fails"].startswith("failed: ZeroDivisionError")
    assert found["aborts"].startswith("lost: its process ended with code")
    assert json.loads(path.read_text()) == found


def test_no_part_of_a_measurement_hangs_for_ever(tmp_path):
    path = tmp_path / "found.json"
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    found = supervised(lambda names, minutes: hanging, ["one"], path, minutes=0, grace_s=0.5)
    assert found == {"one": "lost: it took too long, and its process was ended"}
