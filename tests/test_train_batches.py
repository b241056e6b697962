"""Which views a training step sees, and where their latents come from."""

from __future__ import annotations

import pytest
import torch
from training_data import layers
from trainings import base_model, config

from napari_damm.dataset import Field, open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.model import DAMM
from napari_damm.train.batches import Batches, Schedule
from napari_damm.train.latent_cache import LatentFile, latent_shape


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1024)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def test_an_epoch_sees_every_patch_once_and_the_next_another_view():
    wishes = config(batch_size=2, variants=3)
    fields = list(survey(list(open_sections(layers((320, 1600)))), 1.0))
    split = split_patches(fields, 0.2, 0)
    schedule = Schedule.of(split, wishes)
    count = len(split.train)
    assert schedule.steps_per_epoch == round(count / 2)
    for epoch in range(4):
        first = epoch * schedule.steps_per_epoch
        steps = range(first, first + schedule.steps_per_epoch)
        seen = [view for step in steps for view in schedule.views(split, step)][:count]
        assert sorted(index for index, _ in seen) == list(range(count))[: len(seen)]
        assert {variant for _, variant in seen} == {epoch % 3}


def test_few_patches_fill_a_batch_with_other_views_of_them(data):
    _, split = data
    schedule = Schedule.of(split, config(batch_size=8, variants=8))
    views = schedule.views(split, 0)
    assert len(views) == len(set(views)) == 8


def test_kept_latents_are_those_that_would_be_computed(data, tmp_path):
    fields, split = data
    model = base_model()
    fresh = Batches(model, fields, split, config())
    cache = LatentFile(tmp_path / "z" / "a.bin", latent_shape(model), 100)
    kept = Batches(model, fields, split, config(), cache=cache)
    for step in (0, 1, 0, 1):
        for a, b in zip(fresh.batch(step), kept.batch(step), strict=True):
            assert torch.equal(a, b)
    assert kept.encoded == 4
    assert fresh.encoded == 8


def test_processes_share_a_batch(data):
    fields, split = data
    batches = Batches(base_model(), fields, split, config(batch_size=4, variants=8))
    whole = batches.batch(0)
    halves = [batches.batch(0, 1.0, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.target[0::2], halves[0].target)
    assert torch.equal(whole.target[1::2], halves[1].target)


def test_crops_are_used_up_to_their_share(data):
    fields, split = data
    wishes = config(crop_px=128, crop_until=0.5)
    batches = Batches(base_model(), fields, split, wishes)
    assert batches.batch(0, 0.4).target.shape[2:] == (16, 16)
    assert batches.batch(0, 0.5).target.shape[2:] == (32, 32)


def test_an_error_of_the_model_is_no_unreadable_patch(data, monkeypatch):
    """Where a patch is read but cannot be encoded, the training must end, and say why."""
    fields, split = data
    batches = Batches(base_model(), fields, split, config())

    def wrong_shape(*_):
        raise ValueError("expected 3 channels, got 1")

    monkeypatch.setattr(DAMM, "encode", wrong_shape)
    with pytest.raises(ValueError, match="expected 3 channels"):
        batches.batch(0)
    assert batches.unreadable.messages == ()


@pytest.mark.parametrize("error", [OSError("tile 3 is damaged"), ValueError("NaN at y 3")])
def test_an_unreadable_patch_is_replaced_and_told_once(data, monkeypatch, error):
    fields, split = data
    batches = Batches(base_model(), fields, split, config(batch_size=4))
    bad, read = split.train[1], Field.read

    def damaged(self, role, box):
        if abs(box.x0 - bad.box.x0) < 96:  # views move by up to three cells
            raise error
        return read(self, role, box)

    monkeypatch.setattr(Field, "read", damaged)
    for step in range(3):
        assert len(batches.batch(step).target) == 4
    told = list(batches.unreadable.untold())
    assert len(told) >= 1
    assert {failed.message for failed in told} == {str(error)}
    assert list(batches.unreadable.untold()) == []


def test_where_no_patch_can_be_read_the_reason_is_said(data, monkeypatch):
    fields, split = data
    batches = Batches(base_model(), fields, split, config())

    def damaged(self, role, box):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Field, "read", damaged)
    with pytest.raises(OSError, match="none of the training patches can be read: the disk is gone"):
        batches.batch(0)
