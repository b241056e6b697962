"""What our recipe adds to the paper's: velocity, a confidence that sees both, a gate per cell."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import random_model, tiny_config

from napari_damm.dataset import SimulatedSource, open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.dataset.views import View, draw_view, planted_share, read_view
from napari_damm.model import BranchOutputs, DAMMConfig, UNetConfig
from napari_damm.model.gate import choose_multi
from napari_damm.model.vqgan import VQGAN, VQGANConfig
from napari_damm.sampling import sample_ddim
from napari_damm.schedule import NoiseSchedule
from napari_damm.train.autoencoder.single import AutoencoderTraining, train_autoencoder
from napari_damm.train.config import TrainConfig
from napari_damm.train.losses import joint_loss, planted_loss
from napari_damm.train.step import divergence_weight, uses_squares, velocity_weights


def ours(**changes: object) -> DAMMConfig:
    """The tiny test model with our recipe."""
    tiny = tiny_config(codebook=0)
    unet = replace(tiny.unet, predicts="velocity", confidence_from="both", **changes)
    return replace(tiny, unet=unet, gate="cell", read_out="mean")


def calls(n: int = 3) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    x_t, primary, secondary = (torch.randn(n, 4, 8, 8, generator=generator) for _ in range(3))
    return x_t, torch.tensor([999, 400, 0])[:n], primary, secondary


def test_the_recipe_is_written_into_the_configuration():
    made = DAMMConfig.of_preset("small", "ours")
    assert (made.unet.predicts, made.unet.confidence_from) == ("velocity", "both")
    assert (made.gate, made.read_out, made.guided) == ("cell", "mean", True)
    assert DAMMConfig.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert DAMMConfig.of_preset("small", "paper") == DAMMConfig.small()


@pytest.mark.parametrize("name", ["predicts", "confidence_from", "fusion", "attention"])
def test_unknown_parts_of_a_recipe_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be one of .* got 'other'"):
        replace(UNetConfig(), **{name: "other"})


@torch.no_grad()
def test_velocity_becomes_the_noise_that_belongs_to_it():
    """For any x_0 and eps, v = sqrt(abar) eps - sqrt(1 - abar) x_0 gives eps back."""
    model = random_model(ours())
    x_0, t, eps, _ = calls()
    abar = NoiseSchedule().alphas_cumprod[t].float().view(-1, 1, 1, 1)
    x_t = NoiseSchedule().add_noise(x_0, eps, t)
    velocity = abar.sqrt() * eps - (1 - abar).sqrt() * x_0
    torch.testing.assert_close(model.unet.as_noise(velocity, x_t, t), eps, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_perfect_velocity_is_sampled_to_the_image():
    model = random_model(ours())
    x_0 = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    schedule = NoiseSchedule()

    def denoise(x_t, t):
        abar = schedule.alphas_cumprod[t].float().view(-1, 1, 1, 1)
        velocity = (abar.sqrt() * x_t - x_0) / (1 - abar).sqrt()
        return model.unet.as_noise(velocity, x_t, t)

    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(sample_ddim(denoise, noise, schedule, 10), x_0, rtol=0, atol=1e-3)


@torch.no_grad()
def test_only_a_confidence_that_sees_both_changes_with_the_secondary_image():
    x_t, t, primary, secondary = calls()
    for sees, config in ((True, ours()), (False, tiny_config())):
        model = random_model(config)
        u = [model.predict_noise(x_t, t, primary, z).confidence for z in (secondary, -secondary)]
        assert torch.equal(*u) is not sees


def test_a_gate_per_cell_chooses_cell_by_cell_and_per_window_for_all():
    u = torch.tensor([[[0.9, 0.2], [0.5, 0.9]]])
    assert choose_multi(u, 0.5, "cell").tolist() == [[[True, False], [True, True]]]
    assert choose_multi(u, 0.5, "window").tolist() == [[[True, True], [True, True]]]
    assert choose_multi(u, 0.7, "window").tolist() == [[[False, False], [False, False]]]


@torch.no_grad()
@pytest.mark.parametrize("gate", ["cell", "window"])
def test_each_cell_is_of_the_branch_that_its_gate_chose(gate):
    model = random_model(replace(ours(), gate=gate))
    given = calls()
    both = model.predict_noise(*given)
    means = both.confidence.flatten(1).mean(dim=1)
    gamma = float(both.confidence.median() if gate == "cell" else means.median())
    made = model.gated_noise(*given, gamma)
    assert 0 < int(made.multi.sum()) < made.multi.numel()
    side = given[0].shape[2] // made.multi.shape[1]
    for b, y, x in np.ndindex(*made.multi.shape):
        at = (b, slice(None), slice(y * side, (y + 1) * side), slice(x * side, (x + 1) * side))
        wanted = both.eps_multi if made.multi[b, y, x] else both.eps_uni
        torch.testing.assert_close(made.eps[at], wanted[at])


@torch.no_grad()
def test_cells_that_are_not_trusted_may_get_some_of_both_branches():
    model = random_model(replace(ours(), uni_share=0.25))
    given = calls()
    both = model.predict_noise(*given)
    gamma = float(both.confidence.median())
    made = model.gated_noise(*given, gamma)
    side = given[0].shape[2] // made.multi.shape[1]
    trusted = made.multi.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, None]
    mixed = 0.25 * both.eps_uni + 0.75 * both.eps_multi
    torch.testing.assert_close(made.eps, torch.where(trusted, both.eps_multi, mixed))
    # who asks for the uni-modal branch gets it
    torch.testing.assert_close(model.gated_noise(*given, 1.0).eps, both.eps_uni)
    with pytest.raises(ValueError, match=r"uni_share must be in 0..1, got 2"):
        replace(ours(), uni_share=2)


# ---------------------------------------------------------------- losses


def test_planted_cells_are_not_learnt_by_the_multi_modal_branch():
    eps = torch.zeros(1, 1, 4, 4)
    multi = torch.full((1, 1, 4, 4), 2.0).requires_grad_()
    confidence = torch.full((1, 2, 2), 0.8)
    planted = torch.zeros(1, 4, 4)
    planted[:, :2, :2] = 1.0
    outputs = BranchOutputs(torch.full_like(eps, 1.0), multi, confidence)
    made = planted_loss(outputs, eps, planted, 0.1)
    term = -(3 * math.log(0.8) + math.log(0.2)) / 4
    assert float(made.confidence_term) == pytest.approx(term, rel=1e-5)
    # uni: 1; multi: 2 in three of four cells
    assert float(made.total.detach()) == pytest.approx((1 + 1.5) / 2 + 0.1 * term, rel=1e-5)
    made.total.backward()
    assert bool((multi.grad[..., :2, :2] == 0).all())
    assert bool((multi.grad[..., 2:, :] != 0).all())
    squared = planted_loss(outputs, eps, planted, 0.0, squared=True)
    assert float(squared.total.detach()) == pytest.approx((1 + 3) / 2, rel=1e-5)


def test_squared_errors_and_weights_are_those_of_the_velocity():
    schedule = NoiseSchedule()
    for squared in (False, True):
        weight = velocity_weights(schedule, squared)
        t = 500
        abar = float(schedule.alphas_cumprod[t])
        eps = torch.zeros(1, 1, 2, 2)
        off = torch.full_like(eps, 0.3 * abar**0.5)  # the velocity is wrong by 0.3
        loss = joint_loss(BranchOutputs(off, off, eps[0]), eps, weight[t : t + 1], squared)
        assert float(loss) == pytest.approx(0.09 if squared else 0.3, rel=1e-5)


def test_what_the_settings_leave_open_follows_the_network():
    paper, mine = UNetConfig(), ours().unet
    assert not uses_squares(paper, TrainConfig())
    assert uses_squares(mine, TrainConfig())
    assert uses_squares(paper, TrainConfig(loss="l2"))
    assert not uses_squares(mine, TrainConfig(loss="l1"))
    assert divergence_weight(paper, TrainConfig()) == 0
    assert divergence_weight(mine, TrainConfig()) == 0.1
    assert divergence_weight(paper, TrainConfig(divergence_weight=0.3)) == 0.3


# ---------------------------------------------------------------- what is known to mislead


def test_planted_divergence_turns_with_the_view():
    """Of any view, the share of a square is that of the mask turned as the images are."""
    fields = list(survey(list(open_sections(SimulatedSource(1, 640, "internal", 3))), 1.0))
    split = split_patches(fields, 0.2, 0)
    patch = split.train[0]
    raster = fields[0].section.planted
    for turns, flip in ((0, False), (1, False), (3, True)):
        view = View(patch.row, patch.col, turns, flip)
        box = patch.box
        mask = np.rot90(raster.planes[0][box.y0 : box.y1, box.x0 : box.x1], turns)
        mask = mask[::-1] if flip else mask
        wanted = mask.reshape(32, 8, 32, 8).mean(axis=(1, 3))
        np.testing.assert_allclose(planted_share(fields, patch, view, 8), wanted, atol=1e-6)
        image = fields[0].read("primary", box)
        turned = np.rot90(image, turns)
        turned = turned[::-1] if flip else turned
        np.testing.assert_array_equal(read_view(fields, patch, view)[0], turned)


def test_a_view_that_misleads_does_so_all_over():
    fields = list(survey(list(open_sections(SimulatedSource(1, 640, "internal", 3))), 1.0))
    split = split_patches(fields, 0.2, 0)
    views = [draw_view(split, 0, k, 0.5, 0) for k in range(40)]
    assert {view.misleads for view in views} == {True, False}
    patch = split.train[0]
    bad = next(view for view in views if view.misleads and view.spot is None)
    assert planted_share(fields, patch, bad, 8).min() == 1
    spotted = next(v for v in views if v.spot is not None and min(v.spot[:2]) > 60)
    plain = replace(spotted, misleads=False, shift=(0, 0), gain=1.0, blur=0.0, spot=None)
    shares = [planted_share(fields, patch, view, 8) for view in (plain, spotted)]
    changed = read_view(fields, patch, spotted)[1] != read_view(fields, patch, plain)[1]
    changed = changed.reshape(32, 8, 32, 8).any(axis=(1, 3))
    assert changed.any()
    assert bool((shares[1][changed] > 0).all())
    assert bool((shares[1] >= shares[0]).all())
    assert shares[1].max() == 1 > shares[1].min()
    assert not any(draw_view(split, 0, k, 0.0, 0).misleads for k in range(40))


# ---------------------------------------------------------------- latents without a codebook


@pytest.mark.slow
def test_a_first_stage_without_codebook_learns_and_quantises_nothing():
    torch.manual_seed(0)
    stage = VQGAN(VQGANConfig((32, 32), 1, 4, 0))
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.interpolate(torch.rand(4, 1, 4, 4, generator=generator), (32, 32))
    config = AutoencoderTraining(steps=60, warmup_steps=20, learning_rate=3e-3, half=True)
    steps = list(train_autoencoder(stage, lambda _: image * 2 - 1, config))
    assert steps[-1].l1 < 0.5 * steps[0].l1
    assert all(step.replanted == 0 for step in steps)
    assert not [name for name in stage.state_dict() if "codebook" in name]
    with torch.no_grad():
        z = stage.encode(image)
        assert abs(float(z.std()) - 1) < 0.3
        assert not torch.equal(stage.decode(z), stage.decode(z + 1e-3))
