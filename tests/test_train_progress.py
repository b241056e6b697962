"""How far a training is, by steps or by the clock; and its learning rate."""

from __future__ import annotations

import pytest
from trainings import config

from napari_damm.train.progress import TrainingProgress, highest_rate, learning_rate


def test_progress_by_epochs_is_a_function_of_the_step():
    progress = TrainingProgress(config(), 40, clock=lambda: 1e9)
    assert [progress.at(step) for step in (0, 10, 40, 60)] == [0, 0.25, 1, 1]


def test_progress_by_minutes_counts_what_earlier_runs_spent():
    now = iter([100.0, 100.0, 130.0, 400.0])
    progress = TrainingProgress(config(minutes=5.0), 40, spent_s=60.0, clock=lambda: next(now))
    assert progress.at(0) == pytest.approx(60 / 300)
    assert progress.at(0) == pytest.approx(90 / 300)
    assert progress.at(0) == 1.0


def test_time_left_follows_from_the_steps_made():
    now = iter([0.0, 10.0])
    progress = TrainingProgress(config(), 100, clock=lambda: next(now))
    assert progress.seconds_left(progress.at(20)) is None
    assert progress.seconds_left(progress.at(40)) == pytest.approx(30.0)


def test_the_highest_rate_suits_what_is_learnt_unless_it_is_given():
    assert highest_rate(config(), learns_map=True) == 2e-3
    assert highest_rate(config(), learns_map=False) == 2e-4
    assert highest_rate(config(learning_rate=0.5), learns_map=True) == 0.5


def test_the_learning_rate_warms_up_and_falls():
    assert learning_rate(1.0, 0, 10_000, 0.0) == pytest.approx(1 / 100)
    assert learning_rate(1.0, 0, 100, 0.0) == pytest.approx(1 / 5)
    assert learning_rate(1.0, 5000, 10_000, 0.5) == pytest.approx(0.05 + 0.95 / 2)
    assert learning_rate(1.0, 10_000, 10_000, 1.0) == pytest.approx(0.05)
