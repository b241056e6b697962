"""A trained model beside its base: better in all scores, in some, in none."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_damm.cli.train import _summary
from napari_damm.train.compared import Compared
from napari_damm.train.run_folder import TrainedModel

BASE = {"r": 0.28, "ssim": 0.546, "psnr": 16.9}


@pytest.mark.parametrize(
    ("scores", "in_nothing", "some"),
    [
        ({"r": 0.7, "ssim": 0.533}, False, "in r, not in SSIM"),
        ({"r": 0.2, "ssim": 0.6}, False, "in SSIM, not in r"),
        ({"r": 0.7, "ssim": 0.6}, False, ""),
        ({"r": 0.28, "ssim": 0.5}, True, ""),
        ({"r": float("nan"), "ssim": 0.5}, True, ""),
        ({"ssim": 0.5}, True, ""),
        ({}, False, ""),
    ],
)
def test_a_model_is_better_in_all_in_some_or_in_none(scores, in_nothing, some):
    compared = Compared.of(scores, BASE)
    assert (compared.in_nothing, compared.said_of_some) == (in_nothing, some)


def test_from_scratch_there_is_nothing_to_compare_with():
    assert not Compared.of({"r": 0.7, "ssim": 0.5}, {}).in_nothing


def test_the_command_line_does_not_call_a_gain_in_r_no_gain():
    def said(**scores):
        trained = TrainedModel(Path("m"), "m", {}, BASE | scores, BASE, Path())
        return [line for line in _summary(trained) if "base" in line]

    assert said(r=0.7, ssim=0.533) == ["the new model is better than its base in r, not in SSIM"]
    assert said(r=0.2, ssim=0.5) == [
        "the new model is not better than its base on the validation windows"
    ]
    assert said(r=0.7, ssim=0.6) == []
