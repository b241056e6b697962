"""Signals, as a shell or a batch system sends them."""

from __future__ import annotations

import signal
import threading

import pytest

from napari_damm.cli.signals import asked_to_stop, interrupted_by_sigterm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_second_interrupts(number):
    with asked_to_stop() as wish:
        assert not wish.asked
        signal.raise_signal(number)
        assert wish.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_sigterm_interrupts():
    with interrupted_by_sigterm(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("handled", [asked_to_stop, interrupted_by_sigterm])
def test_handlers_are_as_before_afterwards(handled):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with handled():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_nothing_is_handled_and_nothing_fails():
    asked = []

    def work():
        with asked_to_stop() as wish, interrupted_by_sigterm():
            asked.append(wish.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
