"""The training losses against numbers worked out by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from napari_damm.model import BranchOutputs
from napari_damm.train.losses import branch_errors, gated_loss, joint_loss


def outputs(uni: list[float], multi: list[float], confidence: list[float]) -> BranchOutputs:
    """Windows with constant errors against eps = 0; confidence spreads around its mean."""
    spread = torch.tensor([[-0.1, 0.1], [0.05, -0.05]])
    return BranchOutputs(
        torch.stack([torch.full((2, 2, 2), value) for value in uni]),
        torch.stack([torch.full((2, 2, 2), value) for value in multi]),
        torch.stack([spread + value for value in confidence]).requires_grad_(),
    )


EPS = torch.zeros(2, 2, 2, 2)


def test_errors_are_mean_absolute_per_window():
    uni, multi = branch_errors(outputs([1.0, -3.0], [0.5, 2.0], [0.5, 0.5]), EPS)
    assert uni.tolist() == [1.0, 3.0]
    assert multi.tolist() == [0.5, 2.0]


def test_the_joint_loss_averages_branches_and_windows():
    loss = joint_loss(outputs([1.0, -3.0], [0.5, 2.0], [0.5, 0.5]), EPS)
    assert float(loss.detach()) == pytest.approx((1.0 + 3.0 + 0.5 + 2.0) / 4)


def test_the_gated_loss_leaves_the_multi_modal_branch_out_where_confidence_is_low():
    loss = gated_loss(outputs([1.0, 3.0], [0.5, 5.0], [0.7, 0.3]), EPS, gamma=0.5)
    noise = ((1.0 + 0.5) / 2 + 3.0) / 2
    bce = -(log(0.7) + log(1 - 0.3)) / 2
    term = 0.5 * bce + (0.2**2 + 0.2**2) / 2
    assert loss.label.tolist() == [1.0, 0.0]
    assert float(loss.confidence_term.detach()) == pytest.approx(term, rel=1e-5)
    assert float(loss.total.detach()) == pytest.approx(noise + 1e-4 * term, rel=1e-5)


def test_a_tie_counts_for_the_multi_modal_branch():
    assert gated_loss(outputs([2.0, 2.0], [2.0, -2.0], [0.5, 0.5]), EPS).label.tolist() == [1, 1]


def test_a_window_at_gamma_is_multi_modal():
    at_gamma = BranchOutputs(EPS + 1, EPS + 3, torch.full((2, 2, 2), 0.5))
    loss = gated_loss(at_gamma, EPS, gamma=0.5, confidence_weight=0.0)
    assert float(loss.total) == pytest.approx(2.0)


def test_the_confidence_learns_from_its_term():
    given = outputs([1.0, 3.0], [0.5, 5.0], [0.7, 0.3])
    gated_loss(given, EPS, gamma=0.5).total.backward()
    # d/dc [0.5 BCE + (c - gamma)^2] / 2 windows: 0.5 * -1/0.7 + 2 * 0.2, spread over 4 tokens
    expected = 1e-4 * (0.5 * -1 / 0.7 + 2 * 0.2) / 2 / 4
    gradient = given.confidence.grad
    torch.testing.assert_close(gradient[0], torch.full((2, 2), expected), rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient[1], torch.full((2, 2), -expected), rtol=1e-4, atol=0)


def test_predictions_with_no_error_cost_only_the_confidence_term():
    perfect = BranchOutputs(EPS, EPS, torch.full((2, 2, 2), 0.5))
    loss = gated_loss(perfect, EPS, gamma=0.5)
    assert float(loss.total) == pytest.approx(1e-4 * 0.5 * log(2), rel=1e-5)


def test_weights_multiply_the_noise_error_of_each_window_alone():
    given = outputs([1.0, 3.0], [0.5, 5.0], [0.7, 0.3])
    weight = torch.tensor([2.0, 0.5])
    joint = joint_loss(given, EPS, weight)
    assert float(joint.detach()) == pytest.approx((2 * 0.75 + 0.5 * 4.0) / 2)
    gated = gated_loss(given, EPS, 0.5, 0.0, weight)
    assert float(gated.total.detach()) == pytest.approx((2 * 0.75 + 0.5 * 3.0) / 2)
