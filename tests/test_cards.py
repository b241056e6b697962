"""Each local worker sees a graphics card of its own; none of these tests needs one."""

from __future__ import annotations

import pytest
import torch

from napari_damm.engine.workers.cards import VISIBLE, card_of


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
