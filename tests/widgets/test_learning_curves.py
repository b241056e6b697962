"""What the plot takes up, and what it says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from napari_damm.events import TrainPlanned, TrainStep, Validated
from napari_damm.widgets.train.learning_curves import MOST_POINTS, Curve, LearningCurves

MR = ("T1", "T2", "FLAIR")


def planned(folder: Path = Path(), steps_done: int = 0, **record) -> TrainPlanned:
    return TrainPlanned(1, 8, 2, MR, 1.0, folder, record, 100, steps_done=steps_done)


@pytest.fixture
def curves(qtbot) -> LearningCurves:
    widget = LearningCurves()
    qtbot.addWidget(widget)
    return widget


def test_a_smoothed_curve_begins_at_its_first_value():
    curve = Curve(0.9)
    for step in range(3):
        curve.add(step, 2.0)
    assert curve.y == pytest.approx([2.0, 2.0, 2.0])
    curve.add(3, 0.0)
    assert 1.0 < curve.y[-1] < 2.0


def test_what_is_no_number_is_left_out():
    curve = Curve(0.9)
    curve.add(0, math.nan)
    curve.add(1, 1.0)
    assert (curve.x, curve.y) == ([1], [1.0])


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    curve = Curve()
    for step in range(10 * MOST_POINTS):
        curve.add(step, step)
    assert len(curve.x) <= MOST_POINTS
    assert (curve.x[0], curve.x[-1]) == (0, 10 * MOST_POINTS - 1)
    assert curve.x == sorted(curve.x) == curve.y


def test_captions_are_in_the_words_of_the_model(curves):
    curves.begin(planned(), "mine")
    curves.draw()
    assert "T1 alone" in curves.losses_caption.text()
    assert "T1 and T2" in curves.losses_caption.text()
    told = curves.scores_caption.text()
    assert told.startswith("Correlation r with the imaged FLAIR in validation windows")
    assert all(name in told for name in ("mine", "base model", "linear model"))


def test_autoencoders_are_shown_until_the_noise_estimator_begins(curves):
    curves.begin(planned(), "mine")
    for phase in ("autoencoder of T1", "autoencoder of T2"):
        for step in (1, 2, 3):
            curves.step(TrainStep(step, 0, phase, 0.0, 0.3))
    curves.draw()
    assert curves.autoencoder.x == [1, 2, 3]
    assert "autoencoder" in curves.losses_caption.text()
    curves.step(TrainStep(1, 0, "joint", 0.1, 0.5, 0.6, 0.4))
    curves.draw()
    assert curves.autoencoder.x == []
    assert "T1 alone" in curves.losses_caption.text()
    assert (curves.uni.y, curves.multi.y) == ([0.6], [0.4])


def test_the_lines_of_base_and_linear_model_reach_as_far_as_the_training(curves):
    curves.begin(planned(linear_scores={"r": 0.7}), "mine")
    curves.validated(Validated(0, 0.0, {"r": 0.4}, {"r": 0.4}, False))
    curves.step(TrainStep(30, 1, "joint", 0.3, 0.5, 0.6, 0.4))
    curves.draw()
    assert (curves.base.x, curves.base.y) == ([0, 30], [0.4, 0.4])
    assert (curves.linear.x, curves.linear.y) == ([0, 30], [0.7, 0.7])


def test_from_scratch_there_is_no_base_line(curves):
    curves.begin(planned(), "mine")
    curves.validated(Validated(10, 0.1, {"r": 0.2}, {}, True))
    curves.draw()
    assert curves.base.x == curves.linear.x == []
    assert curves.scores.x == [10]


def test_a_resumed_training_goes_on_with_its_curves(curves, tmp_path):
    (tmp_path / "curves.csv").write_text(
        "step,loss_uni,loss_multi,r\n10,0.6,0.5,\n20,,,0.45\n20,0.5,0.4,\n30,0.1,0.1,\n"
    )
    curves.begin(planned(tmp_path, steps_done=20), "mine")
    assert curves.uni.x == [10, 20]
    assert (curves.scores.x, curves.scores.y) == ([20], [0.45])
    # The base model is tried again, at step 0: that is in the past.
    curves.validated(Validated(0, 0.0, {"r": 0.4}, {"r": 0.4}, False))
    curves.draw()
    assert curves.scores.x == [20]
    assert curves.base.y == [0.4, 0.4]
    curves.begin(planned(), "another")
    assert curves.uni.x == []


def test_resumed_in_the_same_session_it_goes_on_with_every_step_that_is_shown(curves, tmp_path):
    curves.begin(planned(tmp_path), "mine")
    curves.validated(Validated(0, 0.0, {"r": 0.4}, {"r": 0.4}, False))
    for step in range(1, 15):
        phase = "joint" if step < 13 else "detail"
        curves.step(TrainStep(step, 0, phase, 0.1, 0.5, 0.6, 0.4))
    curves.begin(planned(tmp_path, steps_done=12), "mine")  # the last two are made again
    assert (curves.uni.x, curves.scores.x) == ([*range(1, 13)], [0])
    assert (curves.detail.x, curves.detail_from) == ([], None)
    curves.step(TrainStep(13, 0, "joint", 0.1, 0.5, 0.6, 0.4))
    assert curves.uni.x[-2:] == [12, 13]
    curves.begin(planned(tmp_path / "another", steps_done=12), "another")
    assert curves.uni.x == []


def test_means_of_ten_steps_are_smoothed_as_ten_steps(curves, tmp_path):
    rows = [f"{10 * k},{0.6 if k < 2 else 0.4},," for k in range(1, 21)]
    (tmp_path / "curves.csv").write_text("\n".join(["step,loss_uni,loss_multi,r", *rows]) + "\n")
    curves.begin(planned(tmp_path, steps_done=200), "mine")
    steps = Curve(0.95)
    for step in range(1, 201):
        steps.add(step, 0.6 if step <= 10 else 0.4)
    assert curves.uni.y == pytest.approx(steps.y[9::10])


def test_from_where_on_the_detail_alone_learns_is_marked_and_its_loss_goes_on(curves):
    curves.begin(planned(), "mine")
    curves.step(TrainStep(1, 0, "gated", 0.3, 0.5, 0.6, 0.4))
    curves.draw()
    assert not any(mark.isVisible() for mark in curves._marks)
    assert "detail" not in curves.losses_caption.text()
    for step in (2, 3):
        curves.step(TrainStep(step, 0, "detail", 0.4, 0.2))
    curves.draw()
    assert (curves.detail.x, curves.detail.y) == ([2, 3], pytest.approx([0.2, 0.2]))
    assert curves.uni.x == [1]
    for mark in curves._marks:
        assert (mark.isVisible(), mark.value(), mark.label.toPlainText()) == (True, 2, "detail")
    assert "all else has learnt" in curves.losses_caption.text()


def test_a_training_that_goes_back_before_the_detail_takes_the_mark_away(curves):
    curves.begin(planned(), "mine")
    curves.step(TrainStep(9, 0, "detail", 0.4, 0.2))
    curves.step(TrainStep(5, 0, "joint", 0.2, 0.5, 0.6, 0.4))
    curves.draw()
    assert not any(mark.isVisible() for mark in curves._marks)
    curves.step(TrainStep(10, 0, "detail", 0.4, 0.2))
    curves.draw()
    assert [mark.value() for mark in curves._marks] == [10, 10]


def test_a_resumed_training_knows_since_when_the_detail_learns(curves, tmp_path):
    (tmp_path / "curves.csv").write_text(
        "step,phase,loss,loss_uni,loss_multi,r\n10,gated,0.5,0.6,0.5,\n20,detail,0.2,,,\n20,,,,,0.4\n"
    )
    curves.begin(planned(tmp_path, steps_done=20), "mine")
    assert (curves.detail_from, curves.detail.y) == (20, [0.2])


def test_damaged_curves_do_no_harm(curves, tmp_path):
    (tmp_path / "curves.csv").write_text("step,loss_uni\n1,0.5\nx,y\n")
    curves.begin(planned(tmp_path, steps_done=20), "mine")
    curves.draw()
    assert curves.uni.x == [1]


def test_another_training_uses_the_same_axes(curves):
    for name in ("one", "two"):
        curves.begin(planned(), name)
        curves.draw()
    assert len(curves._lines) == 7
    assert curves.layout().count() == 4
