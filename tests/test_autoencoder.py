"""The autoencoder of our recipe: local, cheaper than a VQGAN, its decoder guided by the vessels."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import randomise
from torch.utils.flop_counter import FlopCounterMode

from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.model import DAMM, VQGAN, AutoencoderConfig, DAMMConfig, VQGANConfig
from napari_damm.model.detail import Detail
from napari_damm.model_file import load_model, save_model

TINY = DAMMConfig.of_preset("tiny", "ours")


@pytest.fixture(scope="module")
def model():
    """A model of our recipe with random weights, the guide's too."""
    return randomise(DAMM(TINY, {"pixel_size_um": 1.0}))


@pytest.fixture
def image():
    return torch.rand(2, 1, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_our_recipe_has_it_and_survives_json_and_a_file(model, image, tmp_path):
    assert DAMMConfig.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY
    assert [stage.guided for stage in TINY.first_stages] == [False, False, True]
    again = load_model(save_model(model, tmp_path / "m.safetensors"), "cpu")
    z = again.encode(image, "vessels")
    assert z.shape == (2, 4, 8, 12)
    torch.testing.assert_close(z, model.encode(image, "vessels"), rtol=0.02, atol=0.02)


def test_old_recipes_keep_their_vqgan():
    assert all(isinstance(s, VQGANConfig) for s in DAMMConfig.of_preset("small").first_stages)


@torch.no_grad()
def test_encoding_and_decoding_take_at_most_two_thirds_of_before():
    before = VQGAN(VQGANConfig((32, 32, 64, 64), 1, 4, 0)).eval()
    now = DAMM(DAMMConfig.of_preset("small", "ours")).eval()
    window = torch.zeros(1, 1, 256, 256)
    seen = now.encode_primary(window)[1]

    def cost(make):
        with FlopCounterMode(display=False) as counter:
            make()
        return counter.get_total_flops()

    made = cost(lambda: now.decode(now.encode(window, "target"), primary=seen, secondary=window))
    assert made <= 2 / 3 * cost(lambda: before.decode(before.encode(window)))


@torch.no_grad()
def test_a_latent_depends_on_its_surroundings_alone(model):
    stage = model.first_stage("primary")
    whole = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(2)) * 2 - 1
    other = whole.clone()
    other[..., 192:] = 5.0  # far away: a normalisation over the window would see it
    near = slice(0, 10)
    torch.testing.assert_close(
        stage.encode(whole)[..., near], stage.encode(other)[..., near], rtol=0, atol=0
    )


@torch.no_grad()
def test_a_guided_decoder_sees_the_primary_image_and_works_without(model, image):
    z = model.encode(image, "target")
    alone, guided = model.decode(z), model.decode(z, primary=image)
    assert alone.shape == guided.shape == image.shape
    assert not torch.allclose(alone, guided)
    features = model.encode_primary(image)[1]
    assert torch.equal(model.decode(z, primary=features), guided)
    # an autoencoder that is not guided does not care
    assert torch.equal(model.decode(z, "primary", primary=image), model.decode(z, "primary"))


@torch.no_grad()
def test_detail_sees_the_secondary_image_where_it_is_given(model, image):
    z, other = model.encode(image, "target"), -image
    with_both = model.decode(z, primary=image, secondary=other)
    alone = model.decode(z, primary=image)
    assert not torch.allclose(with_both, alone)
    # left out, it is background
    assert torch.equal(model.decode(z, primary=image, secondary=torch.full_like(image, -1)), alone)
    assert torch.equal(model.decode(z, secondary=other), model.decode(z))


@torch.no_grad()
def test_a_new_guide_changes_nothing_yet(image):
    fresh = DAMM(TINY)
    z = fresh.encode(image, "target")
    assert torch.equal(fresh.decode(z, primary=image), fresh.decode(z))


def test_a_guide_that_does_not_fit_is_refused():
    vessels, nuclei, target = TINY.first_stages
    other = replace(vessels, channels=(32, 64, 64))
    with pytest.raises(ValueError, match=r"channels \(32, 32, 32\), got \(32, 64, 64\)"):
        replace(TINY, first_stages=(other, nuclei, target))


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"latent_channels": 0}, {"channels": (32, 33)}])
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
        AutoencoderConfig(**wrong)


@pytest.mark.parametrize("wrong", [0, 257, 2.0, True])
def test_sizes_of_the_detail_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="detail must be a whole number"):
        replace(TINY, detail=(20, wrong))


@pytest.mark.parametrize("wrong", [20, (8, 8, 8, 8, 8)])
def test_levels_of_the_detail_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="detail must be at most 4 channels"):
        replace(TINY, detail=wrong)


def test_detail_of_another_kind_is_refused_in_words_and_none_is_none():
    card = TINY.to_dict()
    with pytest.raises(ValueError, match="fine-tune the base model anew"):
        DAMMConfig.from_dict({**card, "detail": 20})
    assert DAMMConfig.from_dict({**card, "detail": 0}).detail == ()


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_what_detail_adds_depends_on_the_surroundings_alone(levels):
    detail = randomise(Detail((4, 6, 8, 8)[:levels])).eval()
    generator = torch.Generator().manual_seed(0)
    drawn, primary, secondary = torch.rand(3, 1, 1, 64, 192, generator=generator) * 2 - 1
    whole = detail(drawn, primary, secondary) - drawn
    assert whole.shape == drawn.shape
    part = np.s_[..., :128]  # places of the coarsest level begin at multiples of eight
    cut = detail(drawn[part], primary[part], secondary[part]) - drawn[part]
    torch.testing.assert_close(cut[..., :64], whole[..., :64], rtol=0, atol=1e-6)


@torch.no_grad()
def test_detail_is_of_any_model_and_of_images_of_several_channels(image):
    config = DAMMConfig.of_preset("tiny")
    stages = tuple(replace(stage, image_channels=3) for stage in config.first_stages)
    model = randomise(DAMM(replace(config, first_stages=stages, detail=(4, 4))))
    rgb = image.expand(-1, 3, -1, -1)
    z, seen = model.encode_primary(rgb)
    assert [each.shape for each in seen] == [rgb.shape]
    with_detail = model.decode(z, primary=seen, secondary=rgb)
    added = with_detail - model.decode(z)
    assert added.abs().max() > 0
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-5)
    assert torch.equal(model.decode(z, "primary", primary=rgb), model.decode(z, "primary"))


@pytest.mark.parametrize("samples", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_window_is_the_same_in_any_pool(model, samples):
    rng = np.random.default_rng(0)
    pool = [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, 64, 64)).astype(np.float32))
        for k in range(3)
    ]
    sampler = WindowSampler(model, Sampling("expected", 1, 0, 0.5, 2, samples), "cpu")
    *_, together = sampler.run(pool)
    for window, pooled in zip(pool, together, strict=True):
        *_, (alone,) = sampler.run([window])
        assert np.array_equal(alone.np, pooled.np)
        assert (alone.std is None) == (samples == 1)


def test_where_vessels_alone_are_used_nuclei_have_no_part_in_the_map(model):
    rng = np.random.default_rng(0)
    vessels, nuclei = rng.uniform(-1, 1, (2, 64, 64)).astype(np.float32)
    pair = [WindowInput((0, 0), (0, 0), vessels, other) for other in (nuclei, -nuclei)]
    for gamma, same in ((1.0, True), (0.0, False)):
        sampler = WindowSampler(model, Sampling("expected", 1, 0, gamma, 2, 1), "cpu")
        *_, (first, second) = sampler.run(pair)
        assert np.array_equal(first.np, second.np) == same
