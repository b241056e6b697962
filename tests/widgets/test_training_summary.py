"""The words for a running and for a finished training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_damm.events import FailedItem, Notice, Preparing, TrainPlanned, TrainStep, Validated
from napari_damm.train.config import TrainConfig
from napari_damm.train.run_folder import TrainingState
from napari_damm.widgets.train.request import Kept
from napari_damm.widgets.train.training_summary import TrainingSummary

PLANNED = TrainPlanned(1, 30, 5, ("T1", "T2", "FLAIR"), 1.0, Path(), {}, 100)


def summarise(*events) -> TrainingSummary:
    made = TrainingSummary("mine", 12)
    for event in events:
        made.count(event)
    return made


def state(progress: float, scores: dict, base: dict) -> TrainingState:
    return TrainingState(
        Path(), "mine", TrainConfig(), "small", (), 10, progress, False, True, Path("m"),
        scores, base, {},
    )  # fmt: skip


def step(**changes) -> TrainStep:
    return TrainStep(**{"step": 9, "epoch": 2, "phase": "joint", "progress": 0.25, "loss": 1.0,
                        **changes})  # fmt: skip


def test_phase_epoch_and_time_left_are_told():
    assert summarise(step()).text() == "learning the map · epoch 2"
    gated = step(phase="gated", epoch=12, seconds_left=200.0)
    assert summarise(gated).text() == "learning what to trust · epoch 12 · 3:20 left"
    assert summarise(step(phase="autoencoder of T1")).text() == "autoencoder of T1"


def test_what_is_prepared_moves_the_bar_only_before_the_first_step():
    preparing = Preparing("measuring the images", 1, 4)
    assert summarise(preparing).text() == "measuring the images · 1 of 4"
    assert summarise(preparing).fraction == 0.25
    midway = summarise(step(progress=0.5), preparing)
    assert midway.fraction == 0.5
    assert midway.text().startswith("measuring")
    midway.count(step(progress=0.6))
    assert midway.text().startswith("learning the map")


def test_the_plan_is_told_until_there_are_scores():
    begun = summarise(PLANNED)
    assert begun.state() == (
        "Training 'mine' on 30 patches of 1 section; 5 patches elsewhere in the tissue are kept "
        "for validation"
    )
    one = summarise(replace(PLANNED, validation_patches=1))
    assert one.state().endswith("1 patch elsewhere in the tissue is kept for validation")
    begun.count(Validated(0, 0.0, {"ssim": 0.4}, {"ssim": 0.4}, False))
    assert begun.state() == "The base model has SSIM 0.400"
    begun.count(Validated(10, 0.1, {"ssim": 0.5, "psnr": 18}, {"ssim": 0.4, "psnr": 17}, True))
    assert begun.state() == (
        "Step 10: SSIM 0.400 → 0.500, PSNR 17.0 → 18.0 dB on 5 validation windows so far"
    )


def test_a_linear_model_stands_beside_and_is_named_where_it_is_better():
    scores, linear = {"ssim": 0.5, "r": 0.76}, {"ssim": 0.6, "r": 0.71}
    told = replace(PLANNED, record={"linear_scores": linear})
    known = summarise(told, Validated(9, 0.1, scores, {}, True))
    assert known.state() == (
        "Step 9: SSIM 0.500 on 5 validation windows, r 0.76 (a linear model 0.71) so far"
    )
    base = Validated(0, 0.0, scores, scores, False)
    assert summarise(told, base).state() == (
        "The base model has SSIM 0.500, r 0.76 (a linear model 0.71)"
    )
    worse = Validated(9, 0.1, scores | {"r": 0.7}, {"ssim": 0.6}, True)
    assert (
        summarise(told, worse)
        .state()
        .startswith("Step 9: not better than the base model and a linear model, SSIM 0.600 → 0.500")
    )


def test_a_gain_in_one_score_is_named_as_that():
    base = {"ssim": 0.546, "r": 0.28}
    told = replace(PLANNED, record={"linear_scores": {"r": 0.71}})
    mixed = Validated(9, 0.1, {"ssim": 0.533, "r": 0.76}, base, True)
    assert summarise(told, mixed).state() == (
        "Step 9: SSIM 0.546 → 0.533 on 5 validation windows, r 0.28 → 0.76 (a linear model 0.71); "
        "better than the base model in r, not in SSIM so far"
    )
    below = Validated(9, 0.1, {"ssim": 0.533, "r": 0.7}, base, True)
    said = summarise(told, below).state()
    assert said.startswith("Step 9: not better than a linear model, SSIM 0.546 → 0.533")
    assert "better than the base model in r, not in SSIM" in said


def test_what_is_near_chance_is_called_so_though_it_beats_a_linear_model():
    told = replace(PLANNED, record={"linear_scores": {"r": 0.02}})
    chance = Validated(9, 0.1, {"ssim": 0.6, "r": 0.05}, {"ssim": 0.5, "r": 0.01}, True)
    assert summarise(told, chance).state() == (
        "Step 9: hardly better than chance, SSIM 0.500 → 0.600 on 5 validation windows, r 0.01 → "
        "0.05 (a linear model 0.02) so far"
    )


def test_a_gain_is_claimed_only_beyond_chance():
    def said(low, high):
        scores = {"ssim": 0.5, "ssim_gain_low": low, "ssim_gain_high": high}
        return summarise(PLANNED, Validated(9, 0.1, scores, {"ssim": 0.4}, True)).state()

    assert said(0.05, 0.15).endswith("; the gain in SSIM is +0.050 to +0.150 so far")
    assert said(-0.02, 0.22).endswith("; the gain may be chance (-0.020 to +0.220 SSIM) so far")


def test_warnings_and_unreadable_patches_stay_in_sight():
    notices = Notice("half the batch", "warning"), Notice("by the way")
    assert (
        summarise(*notices, FailedItem("p1", "bad")).state()
        == "half the batch; p1 could not be read"
    )


def test_a_stopped_training_says_what_is_left():
    stopped = summarise(PLANNED, step())
    kept = Kept(state(0.4, {"ssim": 0.5}, {"ssim": 0.4}), "mine")
    assert stopped.stopped(kept) == (
        "Stopped at 40 %; the best model so far is ready in Predict as 'mine' (SSIM 0.400 → 0.500 "
        "on 5 validation windows); Resume continues"
    )
    assert stopped.stopped(kept, "disk is full").startswith("disk is full; the best model")
    assert summarise().stopped(Kept()) == "Stopped"


def test_a_refusal_says_nothing_about_an_earlier_run():
    refused = summarise(Preparing("measuring the images", 1, 1))
    kept = Kept(state(0.4, {"ssim": 0.5}, {"ssim": 0.4}), "mine")
    assert refused.stopped(kept, "the images differ") == "the images differ"
