"""The wishes for a training: what is refused, and that they survive being written down."""

from __future__ import annotations

import pytest

from napari_damm.train.config import TrainConfig


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 0}, "epochs must be 1 or more, got 0"),
        ({"epochs": 2.5}, "whole number"),
        ({"minutes": -1.0}, "minutes must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"jitter": 1.5}, "jitter must be in 0..1, got 1.5"),
        ({"ema_decay": 1.0}, "below 1"),
        ({"validation_share": 0.0}, "validation_share"),
        ({"name": "../up"}, "'../up'"),
        ({"name": "a" * 300}, "at most 243 bytes long.*got 300"),
        ({"name": "ü" * 122}, "got 244"),
        ({"preset": "huge"}, "tiny, small, paper"),
        ({"device": "tpu"}, "tpu"),
        ({"modalities": ("a", "a", "b")}, "3 different names"),
        ({"seed": -1}, "seed"),
        ({"epochs": "many"}, "epochs"),
        ({"crop_px": 128}, "go together"),
        ({"modalities": ("T1", "T2", "FLAIR")}, "those of its base"),
        ({"pixel_size_um": 2.0}, "those of its base"),
        ({"modalities": 5}, "3 different names"),
        ({"modalities": "abc", "preset": "tiny"}, "3 different names"),
        ({"adapt_first_stages": "false"}, "true or false"),
        ({"strategy": 5}, "strategy"),
        ({"lpips": True}, "adapt_first_stages or preset"),
        ({"discriminator_from": 0}, "adapt_first_stages or preset"),
    ],
)
def test_a_bad_setting_is_refused_by_value(values, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**values)


def test_settings_survive_being_written_down():
    config = TrainConfig(name="a", minutes=3.0, preset="tiny", modalities=("T1", "T2", "FLAIR"))
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_whole_numbers_may_be_written_as_others():
    config = TrainConfig.from_dict({"variants": 8.0, "seed": 1.0})
    assert (config.variants, config.seed) == (8, 1)
    assert isinstance(config.variants, int)


def test_a_setting_by_its_name_of_the_last_release_is_taken():
    assert TrainConfig.from_dict({"average": 0.9}).ema_decay == 0.9
    with pytest.raises(ValueError, match="ema_decay is given twice"):
        TrainConfig.from_dict({"average": 0.9, "ema_decay": 0.8})


def test_an_unknown_setting_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="unknown setting 'epoch': choose from name, epochs"):
        TrainConfig.from_dict({"epoch": 3})
