from __future__ import annotations

import pytest
import torch
from models import randomise

from napari_damm.model import VQGAN, VectorQuantizer, VQGANConfig


def quantizer(entries: list[list[float]]) -> VectorQuantizer:
    block = VectorQuantizer(len(entries), len(entries[0]))
    with torch.no_grad():
        block.codebook.copy_(torch.tensor(entries))
    return block


@pytest.fixture(scope="module")
def stage():
    return randomise(VQGAN(VQGANConfig((32, 64, 32), 2, 4, 16)))


def image(size: int = 16, channels: int = 2) -> torch.Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_nearest_entry_is_by_euclidean_distance_not_by_angle():
    block = quantizer([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0]])
    z = torch.tensor([[2.0, 0.1], [7.0, 0.0], [0.4, 0.6]]).T.view(1, 2, 1, 3)
    assert block.nearest(z).flatten().tolist() == [0, 1, 2]
    quantised = block(z).z[0, :, 0].T
    torch.testing.assert_close(quantised, block.codebook[[0, 1, 2]].detach())


def test_the_codebook_loss_and_its_gradients():
    block = quantizer([[1.0], [5.0]])
    z = torch.tensor([0.5, 3.5]).view(1, 1, 1, 2).requires_grad_()
    loss = block(z).loss  # distances 0.5 and 1.5: mean square 1.25, times 0.25 + 1
    assert float(loss.detach()) == pytest.approx(1.5625)
    loss.backward()
    # 0.25 * 2 (z - z_q) / 2 on the latents; 2 (z_q - z) / 2 on the entries
    assert z.grad.flatten().tolist() == pytest.approx([-0.125, -0.375])
    assert block.codebook.grad.flatten().tolist() == pytest.approx([0.5, 1.5])


def test_gradients_pass_straight_through_the_quantisation():
    block = quantizer([[1.0], [5.0]])
    z = torch.tensor([0.5, 3.5]).view(1, 1, 1, 2).requires_grad_()
    (block(z).z * torch.tensor([2.0, 7.0])).sum().backward()
    assert z.grad.flatten().tolist() == [2.0, 7.0]
    assert block.codebook.grad is None


def test_the_paper_s_size_has_the_paper_s_number_of_parameters():
    with torch.device("meta"):
        stage = VQGAN(VQGANConfig())
    assert sum(p.numel() for p in stage.parameters()) == 16_968_782
    assert stage.config.factor == 16


@pytest.mark.parametrize(
    "config",
    [
        VQGANConfig((32, 64), 1, 2, 4),
        VQGANConfig((64, 32, 96), 3, 8, 32),
        VQGANConfig((32, 32, 32, 64, 32), 1, 4, 8),
    ],
)
@torch.no_grad()
def test_any_widths_and_depths_give_the_shapes_promised(config):
    stage = randomise(VQGAN(config))
    x = image(32, config.image_channels)
    z = stage.encode(x)
    assert z.shape == (2, config.latent_channels, 32 // config.factor, 32 // config.factor)
    assert stage.decode(z).shape == x.shape
    assert stage(x).half.shape == (2, config.image_channels, 16, 16)


@torch.no_grad()
def test_encoding_does_not_quantise_and_decoding_does(stage):
    z = stage.encode(image())
    quantised = stage.quantizer(z).z
    assert not torch.allclose(z, quantised, atol=1e-2)
    torch.testing.assert_close(stage.decode(z), stage.decode(quantised), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_full_forward_is_encoding_then_decoding(stage):
    z, full = stage.encode(image()), stage(image())
    assert torch.equal(full.image, stage.decode(z))
    assert torch.equal(full.codebook_loss, stage.quantizer(z).loss)


@torch.no_grad()
def test_the_codebook_can_be_left_out(stage):
    free = stage(image(), quantize=False)
    assert float(free.codebook_loss) == 0.0
    assert not torch.allclose(free.image, stage(image()).image)


def test_every_weight_takes_part_in_training(stage):
    result = stage(image())
    (result.image.mean() + result.half.mean() + result.codebook_loss).backward()
    idle = [name for name, p in stage.named_parameters() if p.grad is None]
    stage.zero_grad()
    assert idle == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (32, 40)}, "first-stage channels must be 2 to 8 multiples of 32"),
        ({"image_channels": 0}, "image_channels must be a whole number in 1..16, got 0"),
        ({"latent_channels": 0}, "latent_channels must be a whole number in 1..256, got 0"),
        ({"codebook": -1}, "codebook must be a whole number in 0..1048576, got -1"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        VQGANConfig(**changes)
