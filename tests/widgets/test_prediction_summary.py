"""What a run says about itself at its beginning and its end."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_damm.events import Finished, Notice, Planned, ShardDone
from napari_damm.widgets.predict.prediction_summary import GIB, PredictionSummary, estimate


def planned(**known) -> Planned:
    return Planned((64, 64), 1.0, (0.0, 0.0), 40, 0, 36, 16, {}, None, **known)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, ""),
        ({"seconds": 75.0}, " (about 1:15)"),
        ({"memory_bytes": 2 * GIB, "disk_bytes": GIB // 2}, " (2.0 GB of memory, 0.5 GB of disk)"),
        ({"seconds": 7200.0, "disk_bytes": 1000}, " (about 2:00:00)"),
    ],
)
def test_the_estimate_names_what_is_known_and_worth_saying(known, words):
    assert estimate(planned(**known)) == words


def test_what_an_earlier_run_did_counts():
    summary = PredictionSummary()
    summary.count(planned(windows_done=10, shards_done=12))
    assert summary.cancelled(shown=True, saved=True).startswith("Cancelled after 12 of 36 parts")
    assert summary.eta.text() == "10 of 40 windows"
    summary.count(ShardDone(3, 0, 13, 36))
    assert summary.cancelled(shown=True, saved=True).endswith("13 of 36 parts; Resume continues")


def test_where_nothing_is_saved_resuming_is_not_promised():
    summary = PredictionSummary()
    summary.count(planned())
    assert "Resume" not in summary.cancelled(shown=True, saved=True)
    words = "Cancelled after 0 of 40 windows, which stay, marked as partial"
    assert summary.cancelled(shown=True, saved=False) == words
    assert summary.cancelled(shown=False, saved=False) == "Cancelled"


def test_how_often_nuclei_were_used_is_said_by_their_name():
    counted = {"windows": 9, "windows_with_cells": 8, "multi_modal_windows": 2}
    record = {**counted, "model": {"modalities": ["T1", "T2", "PET"]}}
    said = PredictionSummary().done(Finished(SimpleNamespace(record=record), 3.0))
    assert said == "Done in 3 s: 9 windows; T2 were trusted in 25 % of the windows"
    record |= {"windows": 1, "windows_with_cells": 1, "multi_modal_windows": 0}
    said = PredictionSummary().done(Finished(SimpleNamespace(record=record), 3.0))
    assert said.startswith("Done in 3 s: 1 window; ")


def test_why_not_to_trust_it_is_said_once_in_its_own_line():
    summary = PredictionSummary()
    for message in ("do not use: it is blank", "no tissue was found"):
        summary.count(Notice(message, "warning"))
    trust = {"verdict": "do not use", "reasons": ["it is blank"], "shares": {"do not use": 1.0}}
    record = {"windows": 4, "multi_modal_windows": 4, "trust": trust}
    said = summary.done(Finished(SimpleNamespace(record=record), 3.0))
    assert said.startswith("Done in 3 s: 4 windows. Place by place 0 % of the tissue: use; ")
    assert "it is blank" not in said
    assert said.endswith("; no tissue was found")


def test_a_single_window_is_one_window():
    result = SimpleNamespace(record={"windows": 1})
    assert PredictionSummary().done(Finished(result, 1.0)).startswith("Done in 1 s: 1 window;")
