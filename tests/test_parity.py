"""The model computes what the authors' network computes (tests/reference/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_damm.model_file.import_authors import from_state_dict
from napari_damm.sampling import ddim_timesteps, sample_ddim
from napari_damm.schedule import NoiseSchedule
from napari_damm.train.losses import gated_loss, joint_loss

REFERENCE = Path(__file__).parent / "reference"
ABSOLUTE, RELATIVE = 1e-4, 1e-3


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got.float(), expected.float(), rtol=0, atol=ABSOLUTE)


def assert_close_latents(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert float((got - expected).norm() / expected.norm()) < RELATIVE


@pytest.fixture(scope="module", params=["", "second_"], ids=["first", "second"])
def reference(request):
    """A reference set: our model with its weights, and its numbers."""
    weights = load_file(REFERENCE / f"{request.param}weights.safetensors")
    with torch.no_grad():
        yield from_state_dict(weights), load_file(REFERENCE / f"{request.param}io.safetensors")


@pytest.fixture(scope="module")
def outputs(reference):
    model, io = reference
    call = (io["unet.x_t"], io["unet.t"], io["latent.vessels"], io["latent.nuclei"])
    with torch.no_grad():
        return model.predict_noise(*call), model.predict_noise(*call, use_uncertainty=False)


@pytest.mark.parametrize("modality", ["vessels", "nuclei", "target"])
@torch.no_grad()
def test_first_stages_encode(reference, modality):
    model, io = reference
    assert_close(model.encode(io[f"image.{modality}"], modality), io[f"latent.{modality}"])


@pytest.mark.parametrize("modality", ["vessels", "target"])
@torch.no_grad()
def test_first_stages_decode(reference, modality):
    model, io = reference
    assert_close(model.decode(io[f"latent.{modality}"], modality), io[f"decoded.{modality}"])


@torch.no_grad()
def test_the_first_stage_s_full_forward(reference):
    model, io = reference
    result = model.first_stage()(io["image.target"])
    assert_close(result.image, io["vqgan.reconstruction"])
    assert_close(result.half, io["vqgan.half"])
    assert_close(result.codebook_loss, io["vqgan.codebook_loss"])


def test_one_call_of_both_branches(reference, outputs):
    io = reference[1]
    assert_close(outputs[0].eps_uni, io["unet.eps_uni"])
    assert_close(outputs[0].eps_multi, io["unet.eps_multi"])
    assert_close(outputs[0].confidence.flatten(1), io["unet.confidence"][..., 0])


def test_one_call_with_plain_attention(reference, outputs):
    io = reference[1]
    assert_close(outputs[1].eps_multi, io["unet.eps_multi_plain_attention"])
    assert_close(outputs[1].eps_uni, io["unet.eps_uni"])


def test_the_schedule_and_the_forward_process(reference):
    io, schedule = reference[1], NoiseSchedule()
    assert_close(schedule.alphas_cumprod, io["schedule.alphas_cumprod"])
    noisy = schedule.add_noise(io["latent.target"], io["schedule.noise"], io["unet.t"])
    assert_close(noisy, io["schedule.x_t"])


def test_the_joint_loss(reference, outputs):
    io = reference[1]
    assert_close(joint_loss(outputs[1], io["schedule.noise"]), io["loss.joint"])


def test_the_gated_loss(reference, outputs):
    io = reference[1]
    loss = gated_loss(outputs[0], io["schedule.noise"], float(io["loss.gated.gamma"]))
    assert_close(loss.total, io["loss.gated"])
    assert_close(loss.confidence_term, io["loss.gated.confidence_term"])
    assert torch.equal(loss.label, io["loss.gated.label"])


@pytest.mark.parametrize("steps", [124, 220, 1000])
def test_the_timestep_grid(reference, steps):
    assert ddim_timesteps(steps)[::-1] == reference[1][f"ddim.timesteps{steps}"].tolist()


@pytest.mark.parametrize("steps", [10, 25])
@torch.no_grad()
def test_sampling_with_the_multi_modal_branch(reference, steps):
    model, io = reference
    confidences = []

    def denoise(x_t, t):
        outputs = model.predict_noise(x_t, t, io["latent.vessels"], io["latent.nuclei"])
        confidences.append(outputs.confidence.flatten(1).mean(1))
        return outputs.eps_multi

    latent = sample_ddim(denoise, io["unet.x_t"], NoiseSchedule(), steps)
    assert_close_latents(latent, io[f"ddim{steps}.multi.latent"])
    assert_close(torch.stack(confidences), io[f"ddim{steps}.multi.confidence"])


@pytest.mark.parametrize("steps", [10, 25])
@torch.no_grad()
def test_sampling_with_the_gate_changes_branch_where_the_reference_does(reference, steps):
    model, io = reference
    name = f"ddim{steps}.gated"
    gates, confidences = [], []

    def denoise(x_t, t):
        gated = model.gated_noise(
            x_t, t, io["latent.vessels"], io["latent.nuclei"], float(io[f"{name}.gamma"])
        )
        gates.append(gated.multi.all(dim=(1, 2)))
        confidences.append(gated.confidence.flatten(1).mean(1))
        return gated.eps

    latent = sample_ddim(denoise, io["unet.x_t"], NoiseSchedule(), steps)
    assert torch.equal(torch.stack(gates), io[f"{name}.gates"].bool())
    assert 0 < io[f"{name}.gates"].mean() < 1
    assert_close(torch.stack(confidences), io[f"{name}.confidence"])
    assert_close_latents(latent, io[f"{name}.latent"])


@pytest.mark.parametrize("steps", [10, 25])
@torch.no_grad()
def test_images_decoded_from_the_stored_latents(reference, steps):
    model, io = reference
    image = model.decode(io[f"ddim{steps}.gated.latent"])
    assert_close(image, io[f"ddim{steps}.gated.image"])


@torch.no_grad()
def test_sampling_with_noise(reference):
    model, io = reference
    latent = sample_ddim(
        lambda x_t, t: (
            model.predict_noise(x_t, t, io["latent.vessels"], io["latent.nuclei"]).eps_multi
        ),
        io["unet.x_t"],
        NoiseSchedule(),
        10,
        eta=1.0,
        noise=lambda i: io["ddim10.eta1.noise"][i],
    )
    assert_close_latents(latent, io["ddim10.eta1.latent"])
