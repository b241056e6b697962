"""The building blocks against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from models import randomise

from napari_damm.model.layers import (
    ConvUnit,
    Downsample,
    ResBlock,
    ResUnit,
    TimeEmbedding,
    Upsample,
    check_channels,
    sinusoids,
)

silu = torch.nn.functional.silu


def test_sinusoids_are_sines_then_cosines_of_falling_frequencies():
    got = sinusoids(torch.tensor([0, 2]), 8)
    # half = 4: f = 10000^(-k/3) = 1, 0.0464, 0.00215, 0.0001
    frequencies = [1.0, 10 ** (-4 / 3), 10 ** (-8 / 3), 1e-4]
    sines = [math.sin(2 * f) for f in frequencies]
    cosines = [math.cos(2 * f) for f in frequencies]
    expected = torch.tensor([[0.0] * 4 + [1.0] * 4, sines + cosines])
    torch.testing.assert_close(got, expected)


def test_the_time_embedding_is_linear_silu_linear_of_a_quarter_of_its_size():
    embedding = TimeEmbedding(16)
    assert embedding.expand.in_features == 4
    with torch.no_grad():
        embedding.expand.weight.zero_()
        embedding.expand.weight[0, 2] = 3.0  # 3 cos(t f_0)
        embedding.expand.bias.zero_()
        embedding.mix.weight.zero_()
        embedding.mix.weight[5, 0] = 2.0
        embedding.mix.bias.fill_(0.5)
        got = embedding(torch.tensor([7]))
    x = 3.0 * math.cos(7.0)
    expected = torch.full((1, 16), 0.5)
    expected[0, 5] += 2.0 * x / (1 + math.exp(-x))
    torch.testing.assert_close(got, expected)


def test_the_time_embedding_is_exact_in_half_precision_models():
    exact, half = TimeEmbedding(32), TimeEmbedding(32)
    half.load_state_dict(exact.state_dict())
    t = torch.tensor([997])
    with torch.no_grad():
        # float16 angles near 1000 would be off by half a radian
        torch.testing.assert_close(half.half()(t).float(), exact(t), rtol=0, atol=5e-3)


def test_a_conv_unit_is_convolution_then_group_norm_then_silu():
    unit = ConvUnit(1, 32, kernel=1)
    with torch.no_grad():
        unit.conv.weight.copy_(torch.arange(1.0, 33.0).view(32, 1, 1, 1))
        unit.conv.bias.fill_(5.0)
        got = unit(torch.tensor([[[[1.0, 3.0]]]]))
    # one channel per group: each is normalised to -1 and 1 (eps 1e-5 barely matters)
    expected = torch.tensor([-1 / (1 + math.e), math.e / (1 + math.e)]).expand(1, 32, 1, 2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_conv_unit_keeps_the_size(size, kernel):
    assert ConvUnit(2, 32, kernel)(torch.zeros(1, 2, size, size)).shape == (1, 32, size, size)


def test_a_res_unit_adds_its_input_or_a_projection_of_it():
    same, other = ResUnit(32, 32), ResUnit(64, 32)
    x, y = torch.randn(1, 32, 4, 4), torch.randn(1, 64, 4, 4)
    torch.testing.assert_close(same(x), same.unit(x) + x)
    torch.testing.assert_close(other(y), other.unit(y) + other.skip(y))
    assert other.skip.kernel_size == (1, 1)
    assert other.skip.bias is not None


def test_a_res_block_starts_with_its_second_unit_doing_nothing():
    block = ResBlock(32, 64)
    x = torch.randn(1, 32, 4, 4)
    torch.testing.assert_close(block(x), block.first(x))


def test_time_enters_a_res_block_between_its_units_only():
    block = ResBlock(32, 64, time_channels=8)
    randomise(block)
    x, e = torch.randn(2, 32, 4, 4), torch.randn(2, 8)
    shift = block.time(silu(e))
    expected = block.second(block.first(x) + shift[:, :, None, None])
    torch.testing.assert_close(block(x, e), expected)


def test_downsampling_is_a_strided_sum_of_neighbours():
    down = Downsample(1, 1)
    with torch.no_grad():
        down.conv.weight.fill_(1.0)
        down.conv.bias.zero_()
        got = down(torch.arange(16.0).view(1, 1, 4, 4))
    # 3x3 sums around (0, 0), (0, 2), (2, 0), (2, 2), zeros outside
    assert got.flatten().tolist() == [10.0, 24.0, 51.0, 90.0]


def test_odd_sizes_are_rounded_up():
    assert Downsample(1, 1)(torch.zeros(1, 1, 5, 7)).shape == (1, 1, 3, 4)


def test_upsampling_repeats_each_pixel_before_its_convolution():
    up = Upsample(1, 1)
    with torch.no_grad():
        up.conv.weight.zero_()
        up.conv.weight[0, 0, 1, 1] = 1.0
        up.conv.bias.zero_()
        got = up(torch.tensor([[[[1.0, 2.0]]]]))
    assert got.tolist() == [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]


@pytest.mark.parametrize("channels", [(), (32,), (32, 48), (32, 0), (32, -32), (32,) * 9])
def test_channel_counts_must_be_a_few_multiples_of_32(channels):
    with pytest.raises(ValueError, match=r"U-Net channels must be .* multiples of 32 up to 8192"):
        check_channels("U-Net", channels)


@pytest.mark.parametrize("shape", [(1, 32, 1, 1), (2, 32, 5, 8), (1, 32, 16, 3)])
def test_upsampling_by_phases_is_the_convolution_of_the_upsampled(shape):
    torch.manual_seed(0)
    up = Upsample(32, 64)
    x = torch.randn(shape)
    with torch.enable_grad():
        plain = up(x)
    with torch.no_grad():
        torch.testing.assert_close(up(x), plain.detach(), rtol=1e-5, atol=1e-5)


def test_nothing_given_is_overwritten_without_gradients():
    block = ResBlock(32, 32)
    x = torch.randn(1, 32, 6, 6)
    before = x.clone()
    with torch.no_grad():
        block(x)
    assert torch.equal(x, before)
