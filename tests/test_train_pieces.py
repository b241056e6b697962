"""The training of the bundled model may be done in pieces (resuming itself: test_train_resume)."""

from __future__ import annotations

import itertools

import pytest
from benchmarks import train_bundled

from napari_damm.events import TrainStep

STEPS = 5


def step(number):
    return TrainStep(number, 0, "gated", number / STEPS, 1.0, 1.0, 1.0, 0.5, 1e-3, 8.0, 0.0, None)


class Training:
    """Stands for `fine_tune`: five steps; what was done is kept, as in a folder."""

    def __init__(self):
        self.done, self.resumed, self.closed = 0, [], 0

    def __call__(self, sources, base, config, out, resume):
        self.resumed.append(resume)
        out.mkdir(exist_ok=True)
        try:
            while self.done < STEPS:
                self.done += 1
                yield step(self.done)
        finally:
            self.closed += 1


@pytest.fixture
def training(monkeypatch):
    made = Training()
    monkeypatch.setattr(train_bundled.api, "fine_tune", made)
    monkeypatch.setattr(train_bundled, "read_training", lambda out: made.done or None)
    return made


def test_pieces_end_in_time_and_go_on_where_the_last_one_ended(training, tmp_path):
    ended = []
    while not ended or not ended[-1]:
        clock = itertools.count().__next__
        ended.append(
            train_bundled.piece(train_bundled.SETTINGS, tmp_path / "run", 2.0, "cpu", clock)
        )
    assert ended == [False, True]
    assert training.resumed == [False, True]
    assert training.closed == 2
    assert training.done == STEPS


def test_the_exit_code_says_whether_there_is_more_to_do(training, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert train_bundled.main(["--out", out, "--minutes-now", "-1"]) == train_bundled.MORE_TO_DO
    assert "step 1: 20.0%" in capsys.readouterr().out
    assert train_bundled.main(["--out", out]) == 0
