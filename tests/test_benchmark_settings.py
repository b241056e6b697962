"""What benchmarks open is nobody's own napari: its settings are kept elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

from responsiveness import own_settings

BENCHMARKS = Path(__file__).parent / "benchmarks"


def test_settings_are_in_a_folder_that_goes(monkeypatch, tmp_path):
    own = str(tmp_path / "own.yaml")
    monkeypatch.setenv("NAPARI_CONFIG", own)
    with own_settings():
        during = Path(os.environ["NAPARI_CONFIG"])
        assert str(during) != own
        assert during.parent.is_dir()
    assert os.environ["NAPARI_CONFIG"] == own
    assert not during.parent.exists()
    monkeypatch.delenv("NAPARI_CONFIG")
    with own_settings():
        pass
    assert "NAPARI_CONFIG" not in os.environ


def test_every_benchmark_that_opens_napari_keeps_to_it():
    opens = [path for path in BENCHMARKS.glob("*.py") if "napari.Viewer()" in path.read_text()]
    assert len(opens) >= 3
    for path in opens:
        text = path.read_text()
        assert re.search(r"with own_settings\(\)|environ\[\"NAPARI_CONFIG\"\]", text), path.name
