"""A target that is cut off at the camera's top is told of before it is learnt or judged."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from models import CARD

from napari_damm.dataset import SectionSource, open_sections, survey
from napari_damm.evaluation.registration import Placed
from napari_damm.evaluation.saturated import said_of_saturated
from napari_damm.events import Notice
from napari_damm.simulate import simulate_slide
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import measure


@cache
def drawn():
    return simulate_slide(544, 10_701)


def source(share: float = 0.0, um: float = 1.0) -> SectionSource:
    """A section whose target is cut off where it is brightest, on this share of its pixels."""
    section = drawn()
    target = section.nanoparticles
    if share:
        target = np.minimum(target, np.quantile(target, 1 - share).astype(target.dtype))
    images = {"primary": section.vessels, "secondary": section.nuclei, "target": target}
    return SectionSource(images, um, name="s")


def said(given: SectionSource) -> str:
    return said_of_saturated(list(survey(list(open_sections(given)), 1.0)), "dots")


@pytest.mark.parametrize("um", [1.0, 0.8])
def test_a_share_at_the_top_is_said_and_a_few_pixels_are_not(um):
    assert said(source(um=um)) == ""
    assert said(source(0.0005, um)) == ""
    told = said(source(0.04, um))
    assert told.startswith("the dots image of s is saturated on ")
    assert f"greatest value, {source(0.04).images['target'].max():g})" in told


def test_an_image_of_one_value_or_without_windows_is_no_matter_of_exposure(monkeypatch):
    fields = list(survey(list(open_sections(source())), 1.0))
    monkeypatch.setattr(type(fields[0]), "read_raw", lambda *_: np.zeros((256, 256), np.float32))
    assert said_of_saturated(fields, "dots") == ""
    assert said_of_saturated([], "dots") == ""


def warnings_of(events) -> list[str]:
    return [e.message for e in events if isinstance(e, Notice) and "is saturated on" in e.message]


def test_of_the_patches_of_a_folder_it_is_said_once():
    (field,) = survey(list(open_sections(source(0.04))), 1.0)
    patch = replace(field, section=replace(field.section, folder="patches"))
    placed, card = Placed(), {"modalities": ("vessels", "nuclei", "dots")}
    assert [len(placed.said_of(each, card)) for each in (patch, patch, field, field)] == [
        1, 0, 1, 1,
    ]  # fmt: skip
    assert "image of patches is saturated" in said_of_saturated([patch, patch], "dots")


def test_a_training_says_it_before_its_first_step():
    base = SimpleNamespace(model=SimpleNamespace(card={**CARD, "pixel_size_um": 1.0}))
    (told,) = warnings_of(measure(list(open_sections(source(0.04))), base, TrainConfig()))
    assert told.startswith("the nanoparticles image of s is saturated")
