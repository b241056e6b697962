"""Progress and time left, on a clock that the test moves."""

from __future__ import annotations

import pytest

from napari_damm.widgets.run.eta import Eta, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_follows_the_pace_since_the_first_step():
    clock = Clock()
    eta = Eta(windows=25, clock=clock)
    clock.now = 100.0  # a slow start must not count
    eta.step(0, 250)
    assert eta.text() == "0 of 25 windows"
    clock.now = 110.0
    eta.step(50, 250)
    eta.window(5)
    assert eta.text() == "5 of 25 windows · 0:40 left"
    assert eta.fraction == pytest.approx(0.2)


def test_progress_never_goes_back():
    eta = Eta(windows=2, clock=Clock())
    eta.step(19, 20)
    eta.window(1)
    assert eta.fraction == pytest.approx(0.95)


def test_nothing_is_left_at_the_end():
    clock = Clock()
    eta = Eta(windows=2, clock=clock)
    eta.window(1)
    clock.now = 5.0
    eta.window(2)
    assert eta.text() == "2 of 2 windows"
    assert Eta(windows=1, clock=clock).text() == "0 of 1 window"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (3725, "1:02:05")])
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text
