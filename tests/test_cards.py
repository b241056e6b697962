"""Each local worker sees a graphics card of its own; none of these tests needs one."""

from __future__ import annotations

import os

import jobs
import pytest
import torch

from napari_damm.engine.workers import processes
from napari_damm.engine.workers.cards import VISIBLE, card_of
from napari_damm.events import Step


@pytest.fixture
def cards(monkeypatch):
    def there_are(count, visible=None):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv(VISIBLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(VISIBLE, visible)

    return there_are


def seen(workers, device="cuda"):
    return [card_of(seat, device).get(VISIBLE) for seat in range(workers)]


def test_each_worker_sees_another_card_and_more_workers_share_them(cards):
    cards(2)
    assert seen(3) == ["0", "1", "0"]


def test_cards_that_are_hidden_stay_hidden(cards):
    cards(2, "3, GPU-7c1a")
    assert seen(2) == ["3", "GPU-7c1a"]


@pytest.mark.parametrize(("count", "device"), [(1, "cuda"), (0, "cuda"), (4, "cpu"), (4, "mps")])
def test_where_there_is_no_choice_nothing_is_said(cards, count, device):
    cards(count)
    assert seen(2, device) == [None, None]


def test_worker_processes_are_started_with_their_cards_and_so_is_who_takes_a_place(
    cards, tmp_path, monkeypatch
):
    cards(2)
    asked, popen = [], processes.subprocess.Popen

    def noted(*arguments, **options):
        process = popen(*arguments, **options)
        asked.append((options["env"].get(VISIBLE), process))
        return process

    # the job computes on the processor; its workers are told of cards all the same
    monkeypatch.setattr(processes, "card_of", lambda seat, device: card_of(seat, "cuda"))
    monkeypatch.setattr(processes.subprocess, "Popen", noted)
    folder, killed = jobs.make(tmp_path, (250, 640)), False
    for event in jobs.predict(folder, tmp_path / "out.ome.zarr", workers=2):
        if isinstance(event, Step) and event.done and not killed:
            killed = True
            next(process for card, process in asked if card == "1").kill()
    assert killed
    first, *others = sorted(card for card, _ in asked)
    assert (first, set(others)) == ("0", {"1"})
    assert VISIBLE not in os.environ
