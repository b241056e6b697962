"""Workers that have gone silent."""

from __future__ import annotations

import pytest

from napari_damm.engine.workers.watchdog import Watchdog


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watchdog(clock):
    return Watchdog(60.0, clock)


def asked_every(watchdog, clock, step, until):
    found = []
    while clock.now < until:
        clock.now += step
        found += [(clock.now, worker) for worker in watchdog.silent()]
    return found


def test_a_silent_worker_is_named_once_and_after_the_patience(watchdog, clock):
    watchdog.heard(1)
    assert asked_every(watchdog, clock, 10.0, 300.0) == [(70.0, 1)]


def test_a_worker_that_gives_signs_of_life_is_never_named(watchdog, clock):
    assert watchdog.interval_s * 2 < watchdog.patience_s
    watchdog.heard(1)
    for _ in range(100):
        clock.now += watchdog.interval_s
        watchdog.heard(1)
        assert watchdog.silent() == []


def test_one_that_has_ended_is_not_missed(watchdog, clock):
    watchdog.heard(1)
    watchdog.heard(2)
    watchdog.forget(1)
    assert [worker for _, worker in asked_every(watchdog, clock, 10.0, 200.0)] == [2]


def test_after_a_pause_of_its_own_everybody_begins_anew(watchdog, clock):
    watchdog.heard(1)
    clock.now = 1000.0
    assert watchdog.silent() == []
    assert asked_every(watchdog, clock, 10.0, 1500.0) == [(1070.0, 1)]
