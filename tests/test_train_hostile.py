"""Training folders from elsewhere: nothing hangs, and nothing is written through a link."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from trainings import quick, run

from napari_damm.train.checkpointing import TRAINER, TrainerState
from napari_damm.train.curves import cut_rows, read_rows
from napari_damm.train.run_folder import read_training
from napari_damm.train.state import TrainState, check_state


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick():
        yield


@pytest.mark.parametrize("name", ["last.ckpt", "curves.csv", "latents", "first_stages"])
def test_nothing_is_continued_through_a_link(finished_training, tmp_path, name):
    _, whole = finished_training
    out, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(whole, out)
    if (out / name).exists():
        (out / name).rename(outside)
    (out / name).symlink_to(outside)
    with pytest.raises(OSError, match=f"{name} is a link"):
        run(out, resume=True, changes={"epochs": 3})


@pytest.mark.parametrize("name", ["run.json", "last.ckpt", "curves.csv"])
def test_a_pipe_in_the_place_of_a_file_is_refused(finished_training, tmp_path, name):
    _, whole = finished_training
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / name).unlink()
    os.mkfifo(out / name)
    with pytest.raises(OSError, match=r"a pipe|not a regular file"):
        run(out, resume=True, changes={"epochs": 3})


def test_a_state_that_is_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(OSError, match="not a regular file"):
        read_training(tmp_path)


@pytest.mark.parametrize(
    "said",
    ["", "[]", "[" * 3000, '{"parts": 1000000000}', '{"validations": 0.5}', '{"rate": "x"}',
     '{"best": "x"}', '{"seconds": NaN}', '{"evil": 1}'],
    ids=range(9),
)  # fmt: skip
def test_a_trainer_that_lies_is_no_checkpoint(tmp_path, said):
    import torch

    path = tmp_path / "last.ckpt"
    TrainState(torch.nn.Linear(1, 1), 1e-3).save(path, {TRAINER: said})
    with pytest.raises(ValueError, match="is not a checkpoint of this training"):
        TrainerState.read(path)


def test_a_trainer_that_has_validated_nothing_is_read_back(tmp_path):
    import torch

    path = tmp_path / "last.ckpt"
    said = json.dumps({"seconds": 2.5, "best": float("-inf")})
    TrainState(torch.nn.Linear(1, 1), 1e-3).save(path, {TRAINER: said})
    assert TrainerState.read(path) == TrainerState(seconds=2.5)


def test_a_checkpoint_that_is_not_finite_is_damaged(tmp_path):
    import torch

    layer = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.bias, float("nan"))
    TrainState(layer, 1e-3).save(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="bias holds what are no numbers"):
        check_state(tmp_path / "last.ckpt")


def test_odd_lines_of_curves_are_left_out(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_bytes(
        b"step,loss,ssim\n1,0.5,\n" + b"9" * 5000 + b",1,1\n2,x,\n-3,1,1\n\xff\0,1,1\n4,,0.25\n"
    )
    assert [row["step"] for row in read_rows(tmp_path)] == ["1", "4"]
    cut_rows(tmp_path, 3)
    assert [row["step"] for row in read_rows(tmp_path)] == ["1"]


def test_curves_of_one_endless_field_are_none(tmp_path):
    (tmp_path / "curves.csv").write_text('step,loss\n1,"' + "x" * 200_000)
    assert read_rows(tmp_path) == []
