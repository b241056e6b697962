"""Familiarity and trust in the result of a prediction, which is otherwise as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import random_model, tiny_config
from trusting import card, section, slide

from napari_damm import api
from napari_damm.engine import job, pipeline
from napari_damm.events import Finished, Notice, Tile
from napari_damm.simulate import simulate_slide
from napari_damm.slide import slide_from_arrays
from napari_damm.store import open_result

QUICK = {"seed": 1, "batch_size": 2, "lanes": 1, "shard": 64, "device": "cpu"}
MAPS = ("np", "uncertainty", "branch")


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))


def predict(model, given, out=None, **more):
    return list(api.predict(given, model, api.PredictConfig(**QUICK | more), store=out))


def result_of(events):
    assert isinstance(events[-1], Finished)
    return events[-1].result


def test_maps_do_not_change_by_a_bit_and_familiarity_comes_with_them(model, tmp_path):
    model.card.clear()
    model.card.update(card())
    events = predict(model, slide(), tmp_path / "with.ome.zarr")
    trusted = open_result(tmp_path / "with.ome.zarr")
    model.card.pop("trust")
    plain = result_of(predict(model, slide()))
    for name in MAPS:
        np.testing.assert_array_equal(
            np.asarray(getattr(trusted, name)), np.asarray(getattr(plain, name))
        )
    familiarity = np.asarray(trusted.familiarity)
    assert familiarity.shape == np.asarray(trusted.branch).shape
    assert familiarity.dtype == np.float32
    assert (familiarity > 0.05).all()
    assert familiarity.max() <= 1
    tiles = [event for event in events if isinstance(event, Tile)]
    assert tiles
    assert all(tile.familiarity is not None for tile in tiles)
    trust = trusted.record["trust"]
    assert (trust["verdict"], trust["reasons"]) == ("use", [])
    assert sum(trust["shares"].values()) == pytest.approx(1)
    assert not [e for e in events if isinstance(e, Notice) and "use" in str(e.message)]


def test_windows_that_the_verdict_looked_at_are_not_measured_again(model, monkeypatch):
    """832 px: 16 windows, of which the verdict looks at nine; the map is the same to the bit."""
    model.card.update(card())
    drawn = simulate_slide(832, 7)
    given = slide_from_arrays({"vessels": drawn.vessels, "nuclei": drawn.nuclei}, 1.0)
    measured = []
    statistics = pipeline.window_statistics
    monkeypatch.setattr(
        pipeline, "window_statistics", lambda *pair: measured.append(0) or statistics(*pair)
    )
    few = {"mode": "draft", "steps": 1, "shard": 1024, "batch_size": 8}
    once = result_of(predict(model, given, **few))
    assert len(measured) == 16 - 9
    before = job.trust_before
    monkeypatch.setattr(job, "trust_before", lambda *of: (before(*of)[0], of[-1]))
    again = result_of(predict(model, given, **few))
    assert len(measured) == 16 - 9 + 16
    np.testing.assert_array_equal(np.asarray(once.familiarity), np.asarray(again.familiarity))
    assert len(np.unique(np.asarray(once.familiarity))) > 3


def test_without_a_distribution_it_says_not_assessed(model):
    model.card.pop("trust", None)
    result = result_of(predict(model, slide()))
    assert result.familiarity is None
    assert result.record["trust"]["verdict"] == "not assessed"


def test_nonsense_is_said_before_the_run_and_stays_in_the_record(model):
    model.card.update(card())
    vessels, nuclei = section()
    events = predict(model, slide(nuclei, vessels))
    model.card.pop("trust")
    notices = [event for event in events if isinstance(event, Notice)]
    assert any("vessels and nuclei look swapped" in str(n.message) for n in notices)
    assert all(n.level == "warning" for n in notices if "swapped" in str(n.message))
    result = result_of(events)
    assert result.record["trust"]["verdict"] == "do not use"
    assert result.record["trust"]["shares"]["do not use"] == 1
    assert (np.asarray(result.familiarity) < 0.005).all()


def test_a_result_of_before_is_continued_without_the_map(model, tmp_path):
    out = tmp_path / "old.ome.zarr"
    model.card.pop("trust", None)
    sha = {"sha256": "0" * 64}
    model.card.update(sha)
    running = api.predict(slide(), model, api.PredictConfig(**QUICK), store=out)
    for event in running:
        if isinstance(event, Tile):
            break
    running.close()
    model.card.update(card() | sha)
    config = api.PredictConfig(**QUICK)
    *_, finished = api.predict(slide(), model, config, store=out, resume=True)
    model.card.pop("trust")
    model.card.pop("sha256")
    assert finished.result.familiarity is None
    assert finished.result.complete


def test_a_record_with_another_kind_of_trust_is_refused(model, tmp_path):
    out = tmp_path / "r.ome.zarr"
    predict(model, slide(), out)
    path = out / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["napari_damm"]["trust"] = {"verdict": 3}
    path.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="trust in the job record"):
        open_result(out)


def test_what_an_earlier_version_began_with_other_statistics_is_not_gone_on_with(model, tmp_path):
    model.card.clear()
    model.card.update(card())
    out = tmp_path / "r.ome.zarr"
    running = api.predict(slide(), model, api.PredictConfig(**QUICK), store=out)
    next(event for event in running if isinstance(event, Tile))
    running.close()
    model.card["trust"] = {k: v for k, v in model.card["trust"].items() if k != "version"}
    with pytest.raises(ValueError, match="begun by an earlier version"):
        list(api.predict(slide(), model, api.PredictConfig(**QUICK), store=out, resume=True))
    assert not open_result(out).complete
