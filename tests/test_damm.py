from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from models import random_model, tiny_config

from napari_damm.model import DAMM, BranchOutputs, DAMMConfig, UNetConfig, VQGANConfig
from napari_damm.model.gate import select_branch, uses_multi


@pytest.fixture(scope="module")
def calls():
    """Eight windows whose confidences differ: x_t, t, primary, secondary."""
    generator = torch.Generator().manual_seed(3)
    x_t, primary, secondary = (torch.randn(8, 4, 4, 4, generator=generator) for _ in range(3))
    return x_t, torch.arange(8) * 120, primary, secondary


# ---------------------------------------------------------------- the configuration


@pytest.mark.parametrize("config", [DAMMConfig.paper(), DAMMConfig.small(), tiny_config()])
def test_a_configuration_survives_json(config):
    assert DAMMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_sides_of_windows_are_multiples_of_a_token():
    assert DAMMConfig.paper().latent_factor == 16
    assert DAMMConfig.paper().token_px == 64
    assert DAMMConfig.small().token_px == 32


def test_configurations_that_do_not_fit_together_are_refused():
    stage, unet = VQGANConfig((32, 64), 1, 4, 8), UNetConfig((32, 64), 16, 4)
    with pytest.raises(ValueError, match="must be 3"):
        DAMMConfig((stage, stage), unet)
    with pytest.raises(ValueError, match=r"must downsample alike, got factors \[2, 2, 4\]"):
        DAMMConfig((stage, stage, replace(stage, channels=(32, 32, 64))), unet)
    with pytest.raises(ValueError, match=r"latent channels must be 4 .* got \[4, 8, 4\]"):
        DAMMConfig((stage, replace(stage, latent_channels=8), stage), unet)


# ---------------------------------------------------------------- autoencoders


@torch.no_grad()
def test_modalities_go_by_the_names_on_the_card_or_by_role():
    model = random_model()
    model.card["modalities"] = ["T1", "T2", "FLAIR"]
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(model.encode(image, "T2"), model.encode(image, "secondary"))
    assert not torch.allclose(model.encode(image, "T1"), model.encode(image, "T2"))
    z = torch.randn(1, 4, 4, 4)
    assert torch.equal(model.decode(z), model.decode(z, "FLAIR"))


def test_an_unknown_modality_is_refused_with_the_ones_there_are(tiny_model):
    with pytest.raises(ValueError, match=r"one of \['vessels', 'nuclei', .*got 'collagen'"):
        tiny_model.encode(torch.zeros(1, 1, 8, 8), "collagen")


def test_the_card_given_is_not_shared():
    card = {"name": "mine"}
    model = DAMM(tiny_config(), card)
    model.card["name"] = "changed"
    assert card == {"name": "mine"}


# ---------------------------------------------------------------- noise and gate


@torch.no_grad()
def test_a_batch_gives_what_its_windows_give_alone(tiny_model, calls):
    together = tiny_model.predict_noise(*calls)
    for i in range(8):
        alone = tiny_model.predict_noise(*(value[i : i + 1] for value in calls))
        for one, all_of_them in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[i], rtol=2e-5, atol=2e-5)


@torch.no_grad()
def test_one_time_serves_the_whole_batch(tiny_model, calls):
    x_t, _, primary, secondary = calls
    one = tiny_model.predict_noise(x_t, 500, primary, secondary)
    many = tiny_model.predict_noise(x_t, torch.full((8,), 500), primary, secondary)
    assert torch.equal(one.eps_multi, many.eps_multi)


def test_the_gate_is_the_mean_confidence_of_each_window():
    confidence = torch.tensor([[[0.2, 0.8]], [[0.2, 0.7]], [[1.0, 0.0]]])
    assert uses_multi(confidence, 0.5).tolist() == [True, False, True]
    eps_uni, eps_multi = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    eps, multi = select_branch(BranchOutputs(eps_uni, eps_multi, confidence), 0.5)
    assert multi.tolist() == [True, False, True]
    assert eps.mean(dim=(1, 2, 3)).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("rank", [0, 3, 8])
@torch.no_grad()
def test_the_gated_noise_is_the_noise_of_the_selected_branch(tiny_model, calls, rank):
    outputs = tiny_model.predict_noise(*calls)
    means = outputs.confidence.flatten(1).mean(1).sort().values
    gamma = float(torch.cat([means, means[-1:] + 1])[rank])  # `rank` windows are uni-modal
    eps, multi = select_branch(outputs, gamma)
    gated = tiny_model.gated_noise(*calls, gamma)
    assert int((~multi).sum()) == rank
    assert torch.equal(gated.multi.all(dim=(1, 2)), multi)
    assert torch.equal(gated.confidence, outputs.confidence)
    torch.testing.assert_close(gated.eps, eps, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("gamma", "idle"), [(0.0, "decode_uni"), (1.0, "decode_multi")])
@torch.no_grad()
def test_a_decoder_that_no_window_needs_does_not_run(tiny_model, calls, monkeypatch, gamma, idle):
    def forbidden(encoded):
        raise AssertionError(f"{idle} ran")

    monkeypatch.setattr(tiny_model.unet, idle, forbidden)
    assert torch.isfinite(tiny_model.gated_noise(*calls, gamma).eps).all()


@torch.no_grad()
def test_each_decoder_runs_for_its_own_windows_only(tiny_model, calls, monkeypatch):
    sizes = []
    for name in ("decode_uni", "decode_multi"):
        decode = getattr(tiny_model.unet, name)
        monkeypatch.setattr(
            tiny_model.unet, name, lambda e, d=decode: sizes.append(len(e.time)) or d(e)
        )
    means = tiny_model.predict_noise(*calls).confidence.flatten(1).mean(1).sort().values
    sizes.clear()
    tiny_model.gated_noise(*calls, float(means[3]))
    assert sorted(sizes) == [3, 5]


@pytest.mark.parametrize("size", [1, 3, 8])
@torch.no_grad()
def test_in_batches_every_network_call_has_one_size_and_a_window_the_same_bits(
    tiny_model, calls, monkeypatch, size
):
    sizes = []
    for name in ("decode_uni", "decode_multi"):
        decode = getattr(tiny_model.unet, name)
        monkeypatch.setattr(
            tiny_model.unet, name, lambda e, d=decode: sizes.append(len(e.time)) or d(e)
        )
    x_t, t, primary, secondary = calls
    means = tiny_model.predict_noise(*calls).confidence.flatten(1).mean(1).sort().values
    gamma = float(means[3])
    sizes.clear()
    whole = tiny_model.gated_noise(*calls, gamma, batch_size=size)
    assert set(sizes) == {size}
    few = [z[2:5] for z in (x_t, torch.as_tensor(t).expand(8), primary, secondary)]
    part = tiny_model.gated_noise(*few, gamma, batch_size=size)
    for of_part, of_whole in zip(part, whole, strict=True):
        assert torch.equal(of_part, of_whole[2:5])


@torch.no_grad()
def test_encoded_windows_can_be_parted_and_joined_again(tiny_model, calls):
    x_t, _, primary, secondary = calls
    whole = tiny_model.unet.encode(x_t, torch.full((8,), 500), primary, secondary)
    parts = [whole.select(torch.arange(0, 3)), whole.select(torch.arange(8) >= 3)]
    joined = type(whole).cat(parts)
    for again, before in zip(joined, whole, strict=True):
        pairs = zip(again, before, strict=True) if isinstance(again, tuple) else [(again, before)]
        assert all(torch.equal(a, b) for a, b in pairs)
