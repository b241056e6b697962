"""MMFM and UAFM against numbers worked out by hand."""

from __future__ import annotations

import math

import torch
from models import randomise

from napari_damm.model.fusion import (
    MultiModalFusion,
    SpatialMask,
    SqueezeExcitation,
    UncertaintyAwareFusion,
    project_and_norm,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@torch.no_grad()
def test_a_mask_is_the_sigmoid_of_two_normalised_projections():
    mask = SpatialMask(1).eval()
    mask[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    mask[0].bias.zero_()
    mask[1].running_mean.copy_(torch.tensor([1.0, 0.0]))
    mask[1].running_var.fill_(4.0)
    mask[3].weight.copy_(torch.tensor([2.0, 3.0]).view(1, 2, 1, 1))
    mask[3].bias.fill_(0.25)
    got = float(mask(torch.tensor(5.0).view(1, 1, 1, 1)))
    first, second = (5 - 1) / 2, (-5 - 0) / 2
    inner = 2 * first * sigmoid(first) + 3 * second * sigmoid(second) + 0.25
    assert math.isclose(got, sigmoid(inner), rel_tol=1e-4)


@torch.no_grad()
def test_squeeze_and_excitation_weighs_channels_by_their_average():
    block = SqueezeExcitation(32)
    assert block.squeeze.weight.shape == (2, 32)
    assert block.squeeze.bias is None
    assert block.excite.bias is None
    block.squeeze.weight.zero_()
    block.squeeze.weight[0, 0] = 1.0  # mean of channel 0 = 2
    block.squeeze.weight[1, 0] = -1.0  # negative: cut off by the ReLU
    block.excite.weight.fill_(10.0)
    block.excite.weight[:, 0] = torch.linspace(-1, 1, 32)
    f = torch.ones(1, 32, 1, 2)
    f[0, 0] = torch.tensor([1.0, 3.0])
    got = block(f)
    weights = torch.sigmoid(2.0 * torch.linspace(-1, 1, 32))
    torch.testing.assert_close(got, f * weights[None, :, None, None])


@torch.no_grad()
def test_mmfm_masks_each_branch_with_its_own_mask_then_weighs_and_projects():
    fusion = randomise(MultiModalFusion(32))
    a, b = torch.randn(2, 32, 3, 3), torch.randn(2, 32, 3, 3)
    both = torch.cat([a * fusion.mask_uni(a), b * fusion.mask_multi(b)], dim=1)
    projected = fusion.project(fusion.attention(both))
    norm = fusion.norm
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    expected = (projected - norm.running_mean[:, None, None]) * scale[:, None, None]
    expected = expected + norm.bias[:, None, None]
    torch.testing.assert_close(fusion(a, b), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_mmfm_projects_the_uni_modal_half_first():
    fusion = randomise(MultiModalFusion(32))
    fusion.project.weight[:, 32:] = 0
    fusion.attention.squeeze.weight[:, 32:] = 0
    a, b, c = (torch.randn(1, 32, 2, 2) for _ in range(3))
    assert torch.equal(fusion(a, b), fusion(a, c))
    assert not torch.allclose(fusion(a, b), fusion(c, b))


def test_mmfm_s_statistics_move_in_training_only():
    fusion = MultiModalFusion(32)
    a, b = torch.randn(4, 32, 3, 3), torch.randn(4, 32, 3, 3)
    fusion.eval()(a, b)
    assert float(fusion.norm.running_mean.abs().max()) == 0.0
    fusion.train()(a, b)
    assert float(fusion.norm.running_mean.abs().max()) > 0.0


@torch.no_grad()
def two_token_attention() -> UncertaintyAwareFusion:
    """UAFM on 2 tokens whose normalised features are -1 and 1 in all 32 channels.

    Every query is (sqrt 32, 0, ...), a key and a value are the normalised feature, and the
    confidence is the sigmoid of channel 0.
    """
    block = UncertaintyAwareFusion(32).eval()
    block.query.weight.zero_()
    block.query.bias.zero_()
    block.query.bias[0] = math.sqrt(32)
    for conv in (block.key, block.value, block.project):
        conv.weight.copy_(torch.eye(32)[:, :, None, None])
        conv.bias.zero_()
    block.confidence.weight.zero_()
    block.confidence.weight[0, 0] = 1.0
    block.confidence.bias.zero_()
    return block


UNI = torch.tensor([2.0, 6.0]).expand(1, 32, 1, 2)  # normalised: -1, 1
MULTI = torch.tensor([9.0, 3.0]).expand(1, 32, 1, 2)  # normalised: 1, -1


@torch.no_grad()
def test_uafm_damps_the_keys_not_the_queries():
    feature, confidence = two_token_attention()(UNI, MULTI)
    u = [sigmoid(-1), sigmoid(1)]
    torch.testing.assert_close(confidence.flatten(), torch.tensor(u), rtol=0, atol=1e-5)
    # scores of every query: key 0 -> 1 * u0, key 1 -> -1 * u1
    first = sigmoid(u[0] + u[1])
    expected = UNI + (first * 1 + (1 - first) * -1)
    torch.testing.assert_close(feature, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_uafm_without_uncertainty_is_plain_attention_but_still_tells_the_confidence():
    block = two_token_attention()
    feature, confidence = block(UNI, MULTI, use_uncertainty=False)
    first = sigmoid(1 + 1)
    torch.testing.assert_close(feature, UNI + (2 * first - 1), rtol=0, atol=1e-4)
    assert torch.equal(confidence, block(UNI, MULTI).confidence)


@torch.no_grad()
def test_uafm_s_tokens_are_in_rows():
    block = two_token_attention()
    uni = torch.randn(1, 32, 2, 3)
    confidence = block(uni, uni).confidence
    assert confidence.shape == (1, 2, 3)
    torch.testing.assert_close(confidence[0], torch.sigmoid(block.norm(uni)[0, 0]))


@torch.no_grad()
def test_uafm_reads_the_confidence_from_the_uni_modal_feature_alone():
    block = randomise(UncertaintyAwareFusion(32))
    uni, one, other = (torch.randn(1, 32, 2, 2) for _ in range(3))
    assert torch.equal(block(uni, one).confidence, block(uni, other).confidence)
    assert not torch.allclose(block(uni, one).feature, block(uni, other).feature)


def test_in_eval_mode_projection_and_norm_are_one_matrix_with_the_same_result():
    conv, norm = torch.nn.Conv2d(32, 48, 1), torch.nn.BatchNorm2d(48)
    torch.nn.init.normal_(norm.weight)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.eval()
    f = torch.randn(2, 32, 5, 7)
    with torch.no_grad():
        got = project_and_norm(f, conv, norm)
        torch.testing.assert_close(got, norm(conv(f)), rtol=1e-5, atol=1e-5)
