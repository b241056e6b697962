"""Two jobs are the same if all that determines the result is."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
from models import random_model

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.job import survey
from napari_damm.engine.provenance import KEY, differences, job_record, version_changes
from napari_damm.model_file import load_model, save_model
from napari_damm.slide import slide_from_arrays


@pytest.fixture(scope="module")
def record():
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 4000, (90, 70), np.uint16) for name in ("vessels", "nuclei")}
    slide, model = slide_from_arrays(images, pixel_size_um=1.0), random_model()
    about = {"kind": "unknown", "description": "a tape", "sections": [{}] * 99}
    model.card.update(pixel_size_um=1.0, training_data=about)
    config = PredictConfig(steps=2, device="cpu", roi=(0, 0, 64, 64))
    planned, setup = survey(slide, model, config)
    made = job_record(slide, model, config, planned, setup.sampling, setup.device)
    return json.loads(json.dumps(made))


def test_a_record_holds_its_key_and_equals_itself_before_the_trip_through_json(record):
    assert set(KEY) <= set(record)
    as_made = record | {"timesteps": tuple(record["timesteps"])}
    assert differences(record, as_made) == []


@pytest.mark.parametrize("name", KEY)
def test_every_entry_of_the_key_counts_and_is_named(record, name):
    stored = deepcopy(record)
    stored[name] = {"sha256": "other"} if isinstance(stored[name], dict) else "other"
    told = differences(stored, record)
    assert told
    assert all(line.startswith(name) for line in told)


def test_a_moved_file_a_renamed_model_and_other_workers_are_the_same_job(record):
    moved = deepcopy(record)
    moved["model"]["name"] = "renamed"
    del moved["model"]["training_data"]  # as results of before have it
    moved["input"] |= {"path": "elsewhere", "name": "other"}
    moved["input"]["vessels"] |= {"path": "elsewhere", "name": "other"}
    moved |= {"started": "long ago", "finished": "yesterday", "windows": 7, "seconds": 1.0}
    assert differences(moved, record) == []


def test_a_record_calls_a_model_as_its_file_is_called(tmp_path):
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 4000, (90, 70), np.uint16) for name in ("vessels", "nuclei")}
    slide, made = slide_from_arrays(images, pixel_size_um=1.0), random_model()
    made.card.update(name="first", pixel_size_um=1.0)
    save_model(made, tmp_path / "renamed.safetensors")
    model = load_model(tmp_path / "renamed.safetensors", "cpu")
    config = PredictConfig(steps=2, device="cpu")
    planned, setup = survey(slide, model, config)
    record = job_record(slide, model, config, planned, setup.sampling, setup.device)
    assert record["model"]["name"] == "renamed"


def test_a_record_says_on_what_the_model_was_trained(record):
    assert record["model"]["training_data"] == {"kind": "unknown", "description": "a tape"}


def test_a_difference_is_told_in_short_words(record):
    told = differences(record | {"seed": 5, "timesteps": list(range(1000))}, record)
    assert "seed is 5 there and 0 here" in told
    assert max(map(len, told)) < 120


def test_other_versions_are_told_apart_but_no_other_job(record):
    older = record | {"versions": {**record["versions"], "torch": "1.0"}}
    assert differences(older, record) == []
    (change,) = version_changes(older, record)
    assert change.startswith("torch 1.0 -> ")
