"""A trained model knows the images that it was trained on, not those of its base."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trusting import known

from napari_damm.dataset.patches import Patch
from napari_damm.train.card import make_card
from napari_damm.train.known_images import known_images
from napari_damm.trust.known import KEY, Known
from napari_damm.util.tiling import WINDOW, Box


class NoisyField:
    """Noise, another in every patch; one patch cannot be read."""

    def read(self, role: str, box: Box) -> np.ndarray:
        if box.y0 == 32:
            raise OSError("unreadable")
        rng = np.random.default_rng((box.y0, box.x0, len(role)))
        return rng.uniform(-1, 1, (WINDOW, WINDOW)).astype(np.float32)


def data(patches: int, corners: tuple[np.ndarray, ...] = ()) -> Any:
    train = tuple(Patch(k % 2, k // 2, k) for k in range(patches))
    split = SimpleNamespace(train=train, corners=corners)
    return SimpleNamespace(fields=(NoisyField(), NoisyField()), split=split)


def test_it_is_fitted_on_training_patches_that_can_be_read():
    values = known_images(data(80), {})
    assert values is not None
    assert values["fitted_on"] == "78 windows of 2 sections that it was trained on"
    assert Known.of_card({KEY: values}) is not None


def test_of_few_small_sections_every_place_where_a_patch_may_train_counts():
    corners = np.zeros((4, 5), bool)
    corners[:, 1:] = True  # of 16 corners 4 are in the row that cannot be read
    values = known_images(data(8, (corners, corners)), {})
    assert values is not None
    assert values["fitted_on"] == "24 windows of 2 sections that it was trained on"


def test_of_few_sections_the_base_tells_how_far_others_may_differ():
    base = {KEY: known().to_json()}
    values = known_images(data(80), base)
    assert values is not None
    assert values["fitted_on"] == (
        "78 windows of 2 sections that it was trained on; how far others may differ is taken from "
        "its base model"
    )
    told, alone = (Known.of_card({KEY: each}) for each in (values, known_images(data(80), {})))
    assert told is not None
    assert alone is not None
    np.testing.assert_allclose(told.sections.mean, alone.sections.mean, atol=0.01)
    assert (told.sections.sd > alone.sections.sd).mean() > 0.9  # noise is everywhere the same


def test_a_base_that_says_something_unreadable_is_refused():
    with pytest.raises(ValueError, match="what the model says of images that it knows is damaged"):
        known_images(data(80), {KEY: {"version": 2}})


def test_of_too_few_patches_nothing_is_said():
    assert known_images(data(12), {}) is None


def test_beside_a_base_few_windows_are_enough():
    """Of one small section that a model was fine-tuned on, say."""

    def said(windows: int, base: dict[str, Any]) -> str | None:
        corners = np.ones((1, windows), bool), np.zeros((1, windows), bool)
        values = known_images(data(2, corners), base)
        return None if values is None else values["fitted_on"]

    base = {KEY: known().to_json()}
    few = said(4, base)
    assert few is not None
    assert few.startswith("4 windows of 1 section that it was trained on; ")
    assert said(3, base) is None
    assert said(19, {}) is None


def test_the_card_of_the_base_is_not_handed_on():
    base = SimpleNamespace(model=SimpleNamespace(card={KEY: "of the base"}), name=None)
    config = {"name": "mine", "lpips": 0, "discriminator_from": None}
    record = {
        "config": config, "modalities": ["a", "b", "c"], "base": None, "base_sha256": None,
        "step": 1, "seconds": 1.0, "device": "cpu", "validation_windows": 1, "scores": {},
        "base_scores": {}, "versions": {}, "data": [], "sections": 0, "simulated": False,
        "data_sha256": "", "pixel_size_um": 1.0, "patches": {},
    }  # fmt: skip
    assert KEY not in make_card(base, record, [])
    own = known_images(data(80), {})
    assert make_card(base, {**record, "trust": own}, [])[KEY] == own
