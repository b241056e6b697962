"""The autoencoders of a model: order, folder, resuming, adapting; how well they reproduce."""

from __future__ import annotations

import copy
import errno
import os
from contextlib import closing

import numpy as np
import pytest
import torch
from models import randomise, tiny_config

from napari_damm.model import DAMM, VQGANConfig
from napari_damm.model.damm import ROLES, DAMMConfig
from napari_damm.train.autoencoder import (
    POOR_R2,
    AutoencodersTraining,
    poor_reconstruction,
    reconstruction_scores,
    train_autoencoders,
    training_plan,
)
from napari_damm.train.state import NotFinite, read_extra
from napari_damm.util import files

SCRATCH = AutoencodersTraining(shared_steps=4, steps=2, discriminator_from=1)
ADAPT = AutoencodersTraining(roles=("secondary", "target"), adapt=True, steps=3)
FILES = ["shared.ckpt", "primary.ckpt", "secondary.ckpt", "target.ckpt"]


def batch(role, step):
    seed = 10 * (step % 10**5) + (ROLES.index(role) if role else 5)
    coarse = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(24, 24), mode="bilinear") * 2 - 1


def model(seed=0, config=None):
    torch.manual_seed(seed)
    made = DAMM(config or tiny_config(levels=(32, 32)))
    made.first_stages = randomise(made.first_stages, seed)
    return made


def trained(config, folder, seed=0):
    made = model(seed)
    return made, list(train_autoencoders(made, batch, config, folder))


def same_weights(a, b):
    a, b = a.first_stages.state_dict(), b.first_stages.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_plan_is_a_shared_start_and_then_each_role():
    plan = training_plan(AutoencodersTraining(shared_steps=400, steps=180))
    assert [role for role, _ in plan] == [None, *ROLES]
    shared, each = plan[0][1], plan[1][1]
    assert (shared.steps, shared.warmup_steps, shared.learning_rate) == (400, 180, 1e-3)
    assert (each.steps, each.warmup_steps, each.learning_rate) == (180, 0, 5e-4)
    assert not shared.adapt
    assert not each.adapt


def test_without_a_shared_start_each_warms_up_alone():
    plan = training_plan(AutoencodersTraining(roles=("target",), shared_steps=0, steps=100))
    assert [(role, one.warmup_steps) for role, one in plan] == [("target", 45)]


def test_adapting_is_planned_for_the_roles_asked_for_without_anything_new():
    plan = training_plan(AutoencodersTraining(roles=("secondary",), adapt=True, steps=300))
    assert [(role, one.warmup_steps, one.adapt) for role, one in plan] == [("secondary", 0, True)]
    assert plan[0][1].learning_rate < training_plan(AutoencodersTraining())[1][1].learning_rate


def test_all_stages_are_trained_and_told_in_order(tmp_path):
    made, steps = trained(SCRATCH, tmp_path / "new")
    told = [(step.role, step.step, step.steps) for step in steps]
    assert told == [(None, k, 4) for k in range(1, 5)] + [
        (role, k, 2) for role in ROLES for k in (1, 2)
    ]
    assert [step.progress for step in steps] == pytest.approx([k / 10 for k in range(1, 11)])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(FILES)
    assert not any(module.training for module in made.first_stages.modules())
    assert not any("discriminator" in name for name in made.state_dict())


def test_latents_have_unit_spread_in_the_end(tmp_path):
    made, _ = trained(SCRATCH, tmp_path)
    for role in ROLES:
        with torch.no_grad():
            z = torch.cat([made.encode(batch(role, 10**6 + k), role) for k in range(8)])
        assert float(z.std()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("config", [SCRATCH, ADAPT], ids=["scratch", "adapt"])
@pytest.mark.parametrize(
    "stop", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3, 5))]
)
def test_a_closed_training_goes_on_as_if_nothing_had_been(tmp_path, config, stop):
    whole, steps = trained(config, tmp_path / "whole")
    started = model()
    with closing(train_autoencoders(started, batch, config, tmp_path / "cut")) as begun:
        first = [next(begun) for _ in range(stop)]
    assert not any(module.training for module in started.first_stages.modules())
    # a new model from scratch has other random weights, a base model is the same again
    again, rest = trained(config, tmp_path / "cut", seed=0 if config.adapt else 7)
    assert first + rest == steps
    assert same_weights(whole, again)


def test_what_is_finished_is_taken_from_the_folder(tmp_path):
    made, _ = trained(SCRATCH, tmp_path)
    again, steps = trained(SCRATCH, tmp_path, seed=3)
    assert steps == []
    assert same_weights(made, again)
    assert not any(module.training for module in again.first_stages.modules())


def test_a_checkpoint_is_saved_as_often_as_asked(tmp_path):
    config = AutoencodersTraining(roles=("target",), adapt=True, steps=3, checkpoint_seconds=0)
    steps = train_autoencoders(model(), batch, config, tmp_path)
    for _ in range(2):
        next(steps)
        saved = (tmp_path / "target.ckpt").read_bytes()
    next(steps)
    assert (tmp_path / "target.ckpt").read_bytes() != saved
    assert list(steps) == []
    assert read_extra(tmp_path / "target.ckpt")


def test_only_the_roles_asked_for_are_adapted(tmp_path):
    base = model()
    adapted, steps = trained(ADAPT, tmp_path)
    assert {step.role for step in steps} == {"secondary", "target"}
    before, after = base.first_stages.state_dict(), adapted.first_stages.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"secondary", "target"}
    assert not (tmp_path / "shared.ckpt").exists()


def test_a_stop_during_the_shared_start_leaves_the_model_alone(tmp_path):
    made = model()
    before = copy.deepcopy(made)
    with closing(train_autoencoders(made, batch, SCRATCH, tmp_path)) as steps:
        next(steps)
    assert same_weights(made, before)


def test_a_full_disk_keeps_its_number_and_the_checkpoint_before(tmp_path, monkeypatch):
    config = AutoencodersTraining(roles=("target",), adapt=True, steps=5, checkpoint_seconds=0)
    steps = train_autoencoders(model(), batch, config, tmp_path)
    next(steps), next(steps)
    saved = (tmp_path / "target.ckpt").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(OSError, match="cannot be written") as told:
            list(steps)
    assert told.value.errno == errno.ENOSPC
    assert (tmp_path / "target.ckpt").read_bytes() == saved
    whole, _ = trained(config, tmp_path / "whole")
    again, _ = trained(config, tmp_path)
    assert same_weights(whole, again)


def test_a_loss_that_is_no_number_names_the_stage_and_keeps_the_checkpoint(tmp_path):
    config = AutoencodersTraining(roles=("target",), adapt=True, steps=4, checkpoint_seconds=0)

    def broken(role, step):
        return batch(role, step) * (float("nan") if step == 2 else 1)

    made = model()
    with pytest.raises(NotFinite, match=r"autoencoder of the target images .* step 3"):
        list(train_autoencoders(made, broken, config, tmp_path))
    again, steps = trained(config, tmp_path)
    assert [step.step for step in steps] == [3, 4]
    whole, _ = trained(config, tmp_path / "whole")
    assert same_weights(whole, again)


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    trained(ADAPT, tmp_path)
    other = model(config=tiny_config(levels=(32, 64)))
    with pytest.raises(ValueError, match=r"secondary\.ckpt is a checkpoint of another arch"):
        next(train_autoencoders(other, batch, ADAPT, tmp_path))


def test_stages_of_different_sizes_have_no_shared_start(tmp_path):
    sizes = [VQGANConfig((32, 32), 1, 4, entries) for entries in (16, 16, 32)]
    made = model(config=DAMMConfig(tuple(sizes), tiny_config().unet))
    with pytest.raises(ValueError, match="shared_steps"):
        next(train_autoencoders(made, batch, SCRATCH, tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    alone = AutoencodersTraining(roles=("target",), shared_steps=0, steps=1)
    assert len(list(train_autoencoders(made, batch, alone, tmp_path))) == 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"roles": ("vessels",)}, "vessels"),
        ({"roles": ()}, "roles"),
        ({"steps": 0}, "got 0 and 400"),
        ({"shared_steps": -1}, "-1"),
    ],
)
def test_bad_settings_are_refused(values, told):
    with pytest.raises(ValueError, match=told):
        AutoencodersTraining(**values)


# ---------------------------------------------------------------- quality


class Fading(torch.nn.Module):
    """An autoencoder that halves intensities in [-1, 1]."""

    def encode(self, image):
        assert not self.training
        return image / 2

    def decode(self, z):
        return z


def test_scores_of_a_reconstruction_are_by_hand():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 16, 16, generator=generator) * 2 - 1
    stage = Fading().train()
    scores = reconstruction_scores(stage, images)
    x = images.numpy().astype(float)
    # in 0..1 the error is x / 4 and the truth x / 2 + 1 / 2
    squared = np.mean((x / 4) ** 2)
    assert scores["psnr"] == pytest.approx(-10 * np.log10(squared), abs=1e-4)
    assert scores["r2"] == pytest.approx(1 - squared / np.var(x / 2), abs=1e-5)
    assert 0 < scores["ssim"] < 1
    assert stage.training


def test_a_perfect_reconstruction_scores_one():
    class Exact(Fading):
        def decode(self, z):
            return 2 * z

    scores = reconstruction_scores(Exact(), batch("target", 0))
    assert scores["r2"] == pytest.approx(1)
    assert scores["ssim"] == pytest.approx(1)


def test_equal_pixels_have_no_r2():
    scores = reconstruction_scores(Fading(), torch.full((1, 1, 16, 16), 0.5))
    assert np.isnan(scores["r2"])
    assert not scores["r2"] < POOR_R2


def test_a_poor_score_becomes_a_sentence_with_the_modality_s_own_name():
    assert poor_reconstruction("FLAIR", {"r2": 0.621}) == (
        "the model's autoencoder reproduces your FLAIR images poorly (R2 0.62, 0.80 or more is "
        "good): adapt the autoencoders (adapt_first_stages)"
    )


# ---------------------------------------------------------------- presets


def test_presets_go_by_their_names():
    assert DAMMConfig.of_preset("tiny") == DAMMConfig.tiny()
    assert DAMMConfig.of_preset("small") == DAMMConfig.small()
    assert DAMMConfig.of_preset("paper") == DAMMConfig.paper()
    with pytest.raises(ValueError, match="tiny, small, paper, got 'huge'"):
        DAMMConfig.of_preset("huge")


def test_the_tiny_preset_has_the_bundled_model_s_grid():
    assert DAMMConfig.tiny().token_px == DAMMConfig.small().token_px == 32
    assert sum(p.numel() for p in DAMM(DAMMConfig.tiny()).parameters()) < 2_000_000
