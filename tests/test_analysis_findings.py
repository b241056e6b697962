"""Analyses of many sections that are cut off go on where they were."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from particle_maps import nuclei, straight_vessel, write_picture

from napari_damm import api, cli
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.findings import KeptSections, SectionFindings
from napari_damm.analysis.sources import MapSource
from napari_damm.events import Finished, Notice

CONFIG = AnalyzeConfig(vessel_threshold=0.5)


@pytest.fixture
def pictures(tmp_path):
    signal, vessels = straight_vessel()
    return [
        write_picture(tmp_path / f"mouse{k}.ome.tif", [vessels, nuclei(), k * signal])
        for k in (1, 2, 3)
    ]


def cut_off(pictures, out, config=CONFIG):
    """Measure the first section, and stop in the second."""
    with closing(api.analyze(pictures, config, out)) as events:
        next(event for event in events if "(2 of 3)" in getattr(event, "what", ""))


def finish(pictures, out, config=CONFIG):
    events = list(api.analyze(pictures, config, out))
    assert isinstance(events[-1], Finished)
    return [event.message for event in events if isinstance(event, Notice)], events


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_what_was_measured_is_not_measured_again_and_the_report_is_the_same(pictures, tmp_path):
    finish(pictures, tmp_path / "whole")
    out, part = tmp_path / "numbers", tmp_path / "numbers.part"
    cut_off(pictures, out)
    assert not out.exists()
    assert len(list(part.iterdir())) == 1
    notices, events = finish(pictures, out)
    assert f"of 3 sections 1 had been measured before: taken from {part}" in notices
    assert not [event for event in events if "(1 of 3)" in getattr(event, "what", "")]
    assert content(out) == content(tmp_path / "whole")
    assert not part.exists()


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(
    pictures, tmp_path, monkeypatch, capsys
):
    out, keep = tmp_path / "numbers", KeptSections.keep
    given = ["analyze", *map(str, pictures), "--out", str(out), "--vessel-threshold", "0.5"]

    def keep_and_stop(self, *section):
        keep(self, *section)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeptSections, "keep", keep_and_stop)
        assert cli.main(given) == 130
    said = capsys.readouterr().err
    assert f"what was measured is kept in {out}.part: the same command goes on from there" in said
    assert cli.main(given) == 0
    assert f"of {len(pictures)} sections 1 had been measured before" in capsys.readouterr().err
    assert not out.with_name("numbers.part").exists()


def test_other_settings_and_changed_pictures_are_measured_anew(pictures, tmp_path):
    out = tmp_path / "numbers"
    cut_off(pictures, out)
    notices, _ = finish(pictures, tmp_path / "numbers", replace(CONFIG, bands=((0.0, 50.0),)))
    assert not any("before" in text for text in notices)
    # what is of other settings stays: it is not of this analysis
    assert len(list((tmp_path / "numbers.part").iterdir())) == 1
    (tmp_path / "numbers").rename(tmp_path / "earlier")
    signal, vessels = straight_vessel()
    write_picture(pictures[0], [vessels, nuclei(), 5 * signal])
    notices, _ = finish(pictures, out)
    assert not any("before" in text for text in notices)


def test_what_was_damaged_is_measured_anew(pictures, tmp_path):
    out = tmp_path / "numbers"
    cut_off(pictures, out)
    (kept,) = (tmp_path / "numbers.part").iterdir()
    kept.write_bytes(kept.read_bytes()[:-200])
    notices, _ = finish(pictures, out)
    assert not any("before" in text for text in notices)


def test_one_section_leaves_nothing_beside_its_report(pictures, tmp_path):
    out = tmp_path / "numbers"
    with closing(api.analyze(pictures[:1], CONFIG, out)) as events:
        next(event for event in events if "writing" in getattr(event, "what", ""))
    assert not list(tmp_path.glob("numbers*"))


def test_agreement_and_pictures_come_back_as_they_were(pictures, tmp_path):
    source = MapSource(pictures[0], perfusion_channel="dapi")
    (finished,) = list(api.analyze(source, CONFIG))[-1:]
    report = finished.result
    found = SectionFindings(report.sections[0], report.rows, report.profiles, ["said"])
    back = SectionFindings.from_bytes(found.to_bytes())
    assert list(back.rows) == list(report.rows)
    assert list(back.profiles) == list(report.profiles)
    assert back.facts.to_dict() == found.facts.to_dict()
    assert np.array_equal(back.facts.thumbnail.particles, found.facts.thumbnail.particles)
    assert back.facts.thumbnail.extent_um == found.facts.thumbnail.extent_um


def test_anything_else_is_no_finding():
    stream = io.BytesIO()
    np.savez_compressed(stream, content=np.zeros(10**6, np.uint8))
    for content_ in (b"", b"PK", stream.getvalue(), b"{}"):
        with pytest.raises(ValueError, match="not what was found"):
            SectionFindings.from_bytes(content_)


def test_a_batch_that_is_killed_goes_on_and_gives_the_same_report(pictures, tmp_path):
    more = [shutil.copy(pictures[k % 3], tmp_path / f"again{k}.ome.tif") for k in range(5)]
    given = ["analyze", *map(str, [*pictures, *more]), "--vessel-threshold", "0.5", "--out"]
    assert cli.main([*given, str(tmp_path / "whole")]) == 0
    out, part = tmp_path / "numbers", tmp_path / "numbers.part"
    command = [sys.executable, "-m", "napari_damm.cli", *given, str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not list(part.glob("*.npz")):
            assert process.poll() is None
        process.kill()
    assert process.returncode not in (0, None)
    kept = {file.name: file.stat().st_mtime_ns for file in part.glob("*.npz")}
    assert 0 < len(kept) < 8
    assert not out.exists()
    assert cli.main([*given, str(out)]) == 0
    assert content(out) == content(tmp_path / "whole")
    assert not part.exists()
