from __future__ import annotations

import pytest
import torch
from models import randomise

from napari_damm.model import TwoBranchUNet, UNetConfig
from napari_damm.model.layers import Downsample


@pytest.fixture(scope="module")
def unet():
    return randomise(TwoBranchUNet(UNetConfig((32, 64, 32), 32, 4)))


def inputs(batch: int = 2, channels: int = 4, size: int = 4):
    generator = torch.Generator().manual_seed(1)
    x_t, primary, secondary = (
        torch.randn(batch, channels, size, size, generator=generator) for _ in range(3)
    )
    return x_t, torch.arange(batch) * 300, primary, secondary


def test_the_paper_s_size_has_the_paper_s_number_of_parameters():
    with torch.device("meta"):
        unet = TwoBranchUNet(UNetConfig())
    count = sum(p.numel() for p in unet.parameters())
    unused_embedder = sum(p.numel() for p in unet.time.parameters())
    assert count + unused_embedder == 112_770_385


def test_four_levels_make_eight_encoder_blocks_nine_fusions_and_nine_decoder_blocks():
    with torch.device("meta"):
        unet = TwoBranchUNet(UNetConfig())
    assert [isinstance(block, Downsample) for block in unet.uni.encoder] == [
        *(False, False, True),
        *(False, False, True),
        *(False, False),
    ]
    assert len(unet.fusions) == len(unet.uni.decoder) == len(unet.multi.decoder) == 9
    upsampling = [i for i, block in enumerate(unet.uni.decoder) if block.up is not None]
    assert upsampling == [3, 6]


@pytest.mark.parametrize(
    ("channels", "latent"),
    [((32, 64), 1), ((64, 32, 96), 3), ((32, 64, 96, 64), 8), ((32, 32, 64, 32, 64), 4)],
)
@torch.no_grad()
def test_any_widths_and_depths_give_the_shapes_promised(channels, latent):
    config = UNetConfig(channels, 24, latent)
    unet = randomise(TwoBranchUNet(config))
    size = 2 * config.factor
    outputs = unet(*inputs(1, latent, size))
    assert outputs.eps_uni.shape == outputs.eps_multi.shape == (1, latent, size, size)
    assert outputs.confidence.shape == (1, 2, 2)
    assert float(outputs.confidence.min()) > 0
    assert float(outputs.confidence.max()) < 1


@torch.no_grad()
def test_a_new_network_predicts_no_noise():
    outputs = TwoBranchUNet(UNetConfig((32, 64), 16, 2)).eval()(*inputs(1, 2))
    assert not outputs.eps_uni.any()
    assert not outputs.eps_multi.any()


@torch.no_grad()
def test_the_uni_modal_branch_and_the_confidence_never_see_the_secondary_modality(unet):
    x_t, t, primary, secondary = inputs()
    one, other = unet(x_t, t, primary, secondary), unet(x_t, t, primary, -secondary)
    assert torch.equal(one.eps_uni, other.eps_uni)
    assert torch.equal(one.confidence, other.confidence)
    assert not torch.allclose(one.eps_multi, other.eps_multi)


@torch.no_grad()
def test_the_multi_modal_branch_sees_the_primary_modality_through_the_fusions(unet):
    x_t, t, primary, secondary = inputs()
    one, other = unet(x_t, t, primary, secondary), unet(x_t, t, -primary, secondary)
    assert not torch.allclose(one.eps_multi, other.eps_multi)


@torch.no_grad()
def test_the_uncertainty_changes_the_multi_modal_branch_only(unet):
    damped, plain = unet(*inputs()), unet(*inputs(), use_uncertainty=False)
    assert torch.equal(damped.eps_uni, plain.eps_uni)
    assert torch.equal(damped.confidence, plain.confidence)
    assert not torch.equal(damped.eps_multi, plain.eps_multi)


@torch.no_grad()
def test_time_matters_per_window(unet):
    x_t, t, primary, secondary = inputs()
    one, other = unet(x_t, t, primary, secondary), unet(x_t, t + 1, primary, secondary)
    assert not torch.allclose(one.eps_uni[1], other.eps_uni[1], atol=1e-6)


@torch.no_grad()
def test_decoding_one_branch_equals_decoding_both(unet):
    encoded, outputs = unet.encode(*inputs()), unet(*inputs())
    assert torch.equal(unet.decode_uni(encoded), outputs.eps_uni)
    assert torch.equal(unet.decode_multi(encoded), outputs.eps_multi)


def test_every_weight_takes_part_in_training(unet):
    outputs = unet(*inputs())
    (outputs.eps_uni.square().mean() + outputs.eps_multi.square().mean()).backward()
    idle = [name for name, p in unet.named_parameters() if p.grad is None]
    unet.zero_grad()
    assert idle == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (32,)}, "U-Net channels must be 2 to 8"),
        ({"time_channels": 20}, "time_channels must be a multiple of 8, got 20"),
        ({"latent_channels": 0}, "latent_channels must be a whole number in 1..256, got 0"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        UNetConfig(**changes)
