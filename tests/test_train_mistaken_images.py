"""Channels that were swapped are told before a training learns them so."""

from __future__ import annotations

import numpy as np
import pytest
from models import CARD
from trainings import base_model, of, run
from trusting import card, section

from napari_damm.dataset import SectionSource, open_sections
from napari_damm.events import Notice, TrainPlanned
from napari_damm.train.mistaken_images import MOST_SECTIONS, told_of_mistakes

VESSELS, NUCLEI = section()
SWAPPED = (NUCLEI, VESSELS)


def sections(*pairs):
    for number, (primary, secondary) in enumerate(pairs):
        images = {"primary": primary, "secondary": secondary, "target": VESSELS}
        yield from open_sections(SectionSource(images, 1.0, name=f"s{number}"))


def told(*pairs, known=None):
    return [each.message for each in told_of_mistakes(list(sections(*pairs)), known or card())]


def test_sections_that_are_right_are_passed_without_a_word():
    assert told((VESSELS, NUCLEI)) == []


def test_swapped_channels_are_named_with_the_sections_that_show_it():
    (said,) = told((VESSELS, NUCLEI), SWAPPED, SWAPPED)
    assert said.startswith("vessels and nuclei look swapped: so it is in 2 of 3 sections")
    assert "(s1, s2)" in said


def test_one_image_twice_is_told():
    (said,) = told((VESSELS, VESSELS))
    assert "both channels show the same image" in said


def test_tissue_that_is_unusual_and_no_mistake_is_what_one_trains_on():
    rng = np.random.default_rng(0)
    noisy = tuple(image + rng.normal(0, 0.3 * image.std(), image.shape) for image in section())
    assert told(noisy) == []


def test_without_a_word_on_what_the_model_knows_nothing_is_said():
    assert told(SWAPPED, known=CARD) == []
    assert told(SWAPPED, known=card(trust={"windows": {}})) == []  # of which nothing can be read


def test_small_patches_show_too_little():
    assert told(tuple(image[:128, :128] for image in SWAPPED)) == []


def test_a_few_of_many_sections_are_looked_at(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "napari_damm.train.mistaken_images.look", lambda slide, _: seen.append(slide)
    )
    told(*[SWAPPED] * 20)
    assert len(seen) == MOST_SECTIONS


@pytest.mark.usefixtures("quick_training")
def test_a_training_says_it_once_before_it_begins(tmp_path):
    base = base_model()
    base.card.update(card())
    images = dict(zip(("primary", "secondary", "target"), (*SWAPPED, VESSELS), strict=True))
    turned = [{role: np.rot90(i, k).copy() for role, i in images.items()} for k in range(3)]
    data = [SectionSource(each, 1.0, name=name) for each, name in zip(turned, "abc", strict=True)]
    events = run(tmp_path / "run", data=data, model=base)
    (said,) = [e for e in of(events, Notice) if "look swapped" in e.message]
    assert said.level == "warning"
    assert events.index(said) < events.index(of(events, TrainPlanned)[0])
    longer = {"epochs": 3}
    again = run(tmp_path / "run", data=data, model=base, changes=longer, resume=True)
    assert not [e for e in of(again, Notice) if "look swapped" in e.message]
