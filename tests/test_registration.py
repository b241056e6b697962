"""Images that do not lie on each other are told of before anything is learnt or judged."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from evaluations import QUICK
from models import CARD, velocity_model
from training_data import layers, write_folder
from trainings import base_model, config

from napari_damm import api
from napari_damm.dataset import FolderSource, SectionSource, open_sections, survey
from napari_damm.evaluation.registration import Placed, said_of_moved
from napari_damm.events import Notice, Validated
from napari_damm.model_file import save_model
from napari_damm.simulate import simulate_slide
from napari_damm.train import fine_tune
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import measure
from napari_damm.trust.moved import moved_by
from napari_damm.trust.statistics import cross_correlogram
from napari_damm.util.tiling import Box

NAMES = ("vessels", "nuclei", "particles")
UM = 0.5


@cache
def drawn(size: int = 448, seed: int = 10_701):
    return simulate_slide(size, seed, "varied")


def source(target: tuple[int, int] = (0, 0), secondary: tuple[int, int] = (0, 0), seed=10_701):
    section = drawn(seed=seed)
    images = {
        "primary": section.vessels,
        "secondary": np.roll(section.nuclei, secondary, (0, 1)),
        "target": np.roll(section.nanoparticles, target, (0, 1)),
    }
    return SectionSource(images, 1.0, name="s")


def fields_of(*sources, um=1.0):
    return list(survey([s for each in sources for s in open_sections(each)], um))


def test_images_that_lie_on_each_other_are_not_spoken_of():
    assert list(said_of_moved(fields_of(source()), NAMES)) == []


@pytest.mark.parametrize("by", [(30, 0), (0, -40), (-20, 24)])
def test_a_target_that_is_moved_is_named_with_direction_and_distance(by):
    (said,) = said_of_moved(fields_of(source(target=by)), NAMES)
    assert said.startswith(
        "the particles image of s looks moved against that of the vessels, by about "
        f"{by[0]} um in y and {by[1]} um in x: register them"
    )


def test_so_are_nuclei_in_um_whatever_the_pixels_of_the_model():
    (said,) = said_of_moved(fields_of(source(secondary=(30, 0)), um=0.75), NAMES)
    assert said.startswith("the nuclei image of s looks moved")
    assert "by about 30 um in y and 0 um in x" in said.replace(" 31 um", " 30 um")


def test_what_fits_as_it_lies_is_not_moved():
    (field,) = fields_of(source())
    boxes = [Box(y, x, y + 256, x + 256) for y in (0, 192) for x in (0, 192)]
    pairs = [(field.read("primary", box), field.read("target", box)) for box in boxes]
    fit = np.mean([cross_correlogram(*pair) for pair in pairs], axis=0)
    far = np.roll(fit, 15, 0)
    assert moved_by(fit, 9.0) is None
    assert moved_by(far, 9.0) == (30.0, 0.0)
    assert moved_by(far, 1e6) is None
    assert moved_by(far + 2 * fit, 9.0) is None
    assert moved_by(far + 0.9 * fit, 2.0) is None  # it may repeat itself


def test_patches_of_one_folder_are_told_of_once():
    (field,) = fields_of(source(target=(30, 0)))
    patch = replace(field, section=replace(field.section, folder="patches"))
    (said,) = said_of_moved([patch, patch], NAMES)
    assert "image of patches looks moved" in said
    placed, card = Placed(), {"modalities": NAMES}
    assert [len(placed.said_of(each, card)) for each in (patch, patch, field, field)] == [
        1,
        0,
        1,
        1,
    ]


def test_what_cannot_be_read_is_left_to_whoever_needs_it():
    def fails(*_):
        raise OSError("gone")

    (field,) = fields_of(source(target=(30, 0)))
    broken = SimpleNamespace(**{**vars(field), "read": fails})
    assert list(said_of_moved([broken], NAMES)) == []


def warnings_of(events) -> list[str]:
    return [e.message for e in events if isinstance(e, Notice) and e.level == "warning"]


def test_a_training_says_so_before_its_first_step():
    base = SimpleNamespace(model=SimpleNamespace(card={"modalities": NAMES, "pixel_size_um": 1.0}))
    sections = [
        section
        for each in (source(), replace_name(source(target=(0, 30), seed=10_702), "other"))
        for section in open_sections(each)
    ]
    (said,) = warnings_of(measure(sections, base, TrainConfig()))
    assert said.startswith("the particles image of other looks moved")
    assert warnings_of(measure(list(open_sections(layers())), base, TrainConfig())) == []


def replace_name(given: SectionSource, name: str) -> SectionSource:
    return SectionSource(given.images, given.pixel_size_um, name=name)


def test_a_folder_that_fits_is_trained_on_without_a_word(tmp_path):
    base = SimpleNamespace(model=SimpleNamespace(card={"modalities": NAMES, "pixel_size_um": 1.0}))
    folder = FolderSource(write_folder(tmp_path, 4), pixel_size_um=1.0)
    assert warnings_of(measure(list(open_sections(folder)), base, TrainConfig())) == []


def test_an_evaluation_and_a_calibration_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "models"))
    model = save_model(velocity_model(), tmp_path / "a.safetensors", {**CARD, "name": "a"})
    moved = source(target=(30, 0))
    monkeypatch.setattr(Placed, "said_beside", lambda *_: ["beside what is predicted"])
    *events, finished = api.evaluate(moved, model, api.EvaluateConfig(**QUICK))
    (caution,) = [c for c in finished.result.cautions if "looks moved" in c]
    assert caution in warnings_of(events)
    assert "beside what is predicted" in finished.result.cautions
    told: list[object] = []
    with pytest.raises(ValueError, match="8 are needed"):  # after all have been compared
        told.extend(api.calibrate(moved, model))
    assert [said for said in warnings_of(told) if "looks moved" in said] == [caution]


def far_from_vessels(by: int = 0):
    """Ground and prediction of particles that spread: of their vessels nothing can be told."""
    section = simulate_slide(448, 10_950, "internal")
    truth, predicted = (
        np.clip(image / np.percentile(image, 99.9), 0, 1).astype(np.float32)
        for image in (np.roll(section.nanoparticles, by, 0), section.nanoparticles_true)
    )
    return SimpleNamespace(truth=truth, inside=np.ones(truth.shape, bool)), predicted


def test_a_target_that_fits_no_vessels_is_compared_with_what_is_predicted():
    (field,) = fields_of(source())
    card = {"modalities": NAMES}
    assert Placed().said_beside(field, *far_from_vessels(), card) == []
    (said,) = Placed().said_beside(field, *far_from_vessels(30), card)
    assert said.startswith(
        "the particles image of s looks moved against what the model expects there, by about "
        "30 um in y and 0 um in x: register them"
    )
    placed = Placed()
    assert placed.said_of(*fields_of(source(target=(30, 0))), card)
    assert placed.said_beside(field, *far_from_vessels(30), card) == []  # said already
    ground, predicted = far_from_vessels(30)
    ground.inside[::100] = False
    assert Placed().said_beside(field, ground, predicted, card) == []  # no window counts wholly


@pytest.mark.usefixtures("quick_training")
def test_a_training_compares_it_with_what_its_base_predicts(tmp_path, monkeypatch):
    given = []

    def said(pairs, name, of, um):
        given.extend(pairs)
        return f"{name} of {of}, {um:g}"

    monkeypatch.setattr("napari_damm.train.start.said_of_predicted", said)
    told = []
    with closing(fine_tune(layers(), base_model(), config(), tmp_path / "run")) as events:
        for event in events:
            told += warnings_of([event])
            if isinstance(event, Validated):
                break
    assert [w for w in told if w.endswith("of the validation windows, 1")]
    assert {image.shape for pair in given for image in pair} == {(256, 256)}
    assert all(truth.min() >= 0 and truth.max() <= 1 for _, truth in given)
