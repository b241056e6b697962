"""A pixel size that is given counts; that the file states another is said, and recorded."""

from __future__ import annotations

import jobs
import pytest
from jobs import of

from napari_damm import api, cli
from napari_damm.events import Finished, Notice
from napari_damm.widgets.predict.record_words import record_words

pytestmark = pytest.mark.usefixtures("quick_first_stages")
SAID = "section.ome.tif states pixels of 1 um; 2 um are taken, as was given"


def predicted(folder, out, given):
    slide = api.open_slide(folder / "section.ome.tif", pixel_size_um=given)
    config = api.PredictConfig(**jobs.QUICK)
    return list(api.predict(slide, folder / "tiny.safetensors", config, store=out))


@pytest.mark.parametrize(("given", "contradicts"), [(2.0, True), (1.0, False), (None, False)])
def test_both_sizes_are_named_and_recorded(folder, out, given, contradicts):
    events = predicted(folder, out, given)
    warnings = [each.message for each in of(Notice, events) if each.level == "warning"]
    assert any(SAID in message for message in warnings) == contradicts
    record = of(Finished, events)[0].result.record
    assert record["slide_pixel_size_um"] == (given or 1.0)
    assert record.get("stated_pixel_size_um") == ([1.0, 1.0] if contradicts else None)
    assert api.open_result(out).record == record
    assert ("2 µm (the file states 1 µm)" in record_words(record)) == contradicts


def test_the_command_says_it_before_and_when_it_runs(folder, out, capfd):
    command = ["predict", str(folder / "section.ome.tif"), "--out", str(out), "--pixel-size", "2"]
    command += ["--model", str(folder / "tiny.safetensors"), "--steps", "2"]
    assert cli.main([*command, "--dry-run"]) == 0
    assert SAID in capfd.readouterr().out
    assert cli.main(command) == 0
    assert SAID in capfd.readouterr().err
