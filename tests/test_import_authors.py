"""Checkpoints of the authors' code become our models, or say in one sentence why not."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from models import random_model, tiny_config

from napari_damm.model import DAMM, DAMMConfig, UNetConfig, VQGANConfig
from napari_damm.model_file import load_model, sha256
from napari_damm.model_file.import_authors import (
    IGNORED,
    authors_key,
    from_state_dict,
    import_authors_checkpoint,
    infer_config,
)
from napari_damm.model_file.pickle_reader import CheckpointError

KEYS = Path(__file__).parent / "reference" / "keys.txt"


def theirs(model: DAMM) -> dict[str, torch.Tensor]:
    """The state dict that the authors' code would have saved for a model."""
    state = {authors_key(name): value for name, value in model.state_dict().items()}
    # what their files hold as well, and we have no use for
    for name in ("1.weight", "1.bias", "3.weight", "3.bias"):
        key = f"noise_estimator.time_embedder.time_emb.{name}"
        state[key.replace("estimator.", "estimator.unet_S.")] = torch.full_like(state[key], 9.0)
    state["latent_embedder.discriminator.main.0.weight"] = torch.zeros(4, 3, 4, 4)
    state["latent_embedder_CD31.vqvae.discriminator.main.0.bias"] = torch.zeros(4)
    state["noise_scheduler.betas"] = torch.linspace(0, 1, 1000)
    return state


def save_lightning(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """Save as Lightning does, with hyper-parameters of classes that nobody can import."""
    module = types.ModuleType("authors_models")

    class NoiseEstimator:
        def __init__(self):
            self.channels = (32, 64)

        def __setstate__(self, values):
            raise AssertionError("the file's classes were used")

    NoiseEstimator.__module__, NoiseEstimator.__qualname__ = "authors_models", "NoiseEstimator"
    module.NoiseEstimator = NoiseEstimator
    sys.modules["authors_models"] = module
    try:
        torch.save(
            {
                "epoch": 199,
                "state_dict": state,
                "hyper_parameters": {
                    "noise_estimator": NoiseEstimator,
                    "instance": NoiseEstimator(),
                    "noise_estimator_kwargs": {"hid_chs": [32, 64], "use_self_condition": False},
                },
                "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
            },
            path,
        )
    finally:
        del sys.modules["authors_models"]
    return path


@pytest.fixture(scope="module")
def state():
    return theirs(random_model())


# ---------------------------------------------------------------- names and sizes


def test_our_names_are_exactly_the_keys_of_a_real_checkpoint():
    listed = dict(line.split("  ") for line in KEYS.read_text().splitlines())
    shapes = {k: v for k, v in listed.items() if not IGNORED.search(k)}
    stage = VQGANConfig((32, 64, 32), 1, 4, 128)
    config = DAMMConfig((stage,) * 3, UNetConfig((32, 64, 32, 64), 64, 4))
    with torch.device("meta"):
        ours = {authors_key(k): str(list(v.shape)) for k, v in DAMM(config).state_dict().items()}
    assert ours == shapes


def test_distinct_names_stay_distinct():
    with torch.device("meta"):
        names = list(DAMM(DAMMConfig.paper()).state_dict())
    assert len({authors_key(name) for name in names}) == len(names)


def test_a_name_that_is_not_ours_has_no_key():
    with pytest.raises(KeyError):
        authors_key("decoder.weight")


@pytest.mark.parametrize(
    "config",
    [
        DAMMConfig.paper(),
        DAMMConfig.small(),
        tiny_config((32, 64, 96, 32), (64, 32), 3, 8, 32, 64),
        tiny_config((96, 32), (32, 96, 64, 32, 64), 2, 1, 5, 8),
        DAMMConfig(
            (
                VQGANConfig((32, 64), 1, 2, 4),
                VQGANConfig((64, 32), 3, 2, 8),
                VQGANConfig((32, 32), 2, 2, 16),
            ),
            UNetConfig((32, 32), 8, 2),
        ),
    ],
    ids=["paper", "small", "deep stages", "deep U-Net", "unlike stages"],
)
def test_the_architecture_is_read_off_the_shapes(config):
    with torch.device("meta"):
        state = theirs(DAMM(config))
    assert infer_config(state) == config


# ---------------------------------------------------------------- importing


@pytest.mark.parametrize(
    "config",
    [
        tiny_config((64, 32, 32), (32, 96, 64, 32), 3, 4, 7, 24),
        tiny_config((32, 96), (96, 32), 1, 2, 9, 16),
    ],
)
@torch.no_grad()
def test_an_imported_checkpoint_computes_what_was_saved(tmp_path, config):
    original = random_model(config, seed=5)
    path = save_lightning(tmp_path / "last.ckpt", theirs(original))
    imported = import_authors_checkpoint(path)
    assert imported.config == config
    assert not imported.training
    n, side = config.unet.latent_channels, 2 * config.unet.factor
    x_t, primary, secondary = (torch.randn(1, n, side, side) for _ in range(3))
    got = imported.predict_noise(x_t, 321, primary, secondary)
    expected = original.predict_noise(x_t, 321, primary, secondary)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    for modality in ("vessels", "nuclei", "nanoparticles"):
        assert torch.equal(
            imported.decode(x_t, modality),
            original.decode(x_t, modality),
        )


def test_the_card_of_an_import_says_where_it_comes_from_and_what_is_not_known(tmp_path, state):
    path = save_lightning(tmp_path / "mice.ckpt", state)
    card = import_authors_checkpoint(path, pixel_size_um=0.65).card
    assert card["modalities"] == ["vessels", "nuclei", "nanoparticles"]
    assert card["pixel_size_um"] == 0.65
    assert card["imported_from"] == {"file": "mice.ckpt", "sha256": sha256(path)}
    assert "unknown" in card["training_data"]["description"]
    assert import_authors_checkpoint(path).card["pixel_size_um"] is None


@torch.no_grad()
def test_an_import_can_be_written_as_a_one_file_model(tmp_path, state):
    path = save_lightning(tmp_path / "a.ckpt", state)
    imported = import_authors_checkpoint(path, tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors", "cpu")
    assert loaded.card["imported_from"]["file"] == "a.ckpt"
    z = torch.randn(1, 4, 4, 4)
    torch.testing.assert_close(loaded.decode(z), imported.decode(z), rtol=0.02, atol=0.02)


def test_half_precision_checkpoints_become_float32_models(state):
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    model = from_state_dict(halves)
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32, torch.int64}


def test_the_imported_weights_are_copies(state):
    model = from_state_dict(state)
    key = authors_key("unet.multi.output.bias")
    before = state[key].clone()
    with torch.no_grad():
        model.unet.multi.output.bias.add_(1.0)
    assert torch.equal(state[key], before)


# ---------------------------------------------------------------- refusing


def changed(state, **changes):
    """Drop the keys given as None, replace or add the others ('.' written as '__')."""
    new = {**state, **{k.replace("__", "."): v for k, v in changes.items()}}
    return {k: v for k, v in new.items() if v is not None}


def test_missing_keys_are_named(state):
    broken = changed(state, noise_estimator__unet_S__outc__conv__conv__bias=None)
    message = r"1 missing key: noise_estimator\.unet_S\.outc\.conv\.conv\.bias$"
    with pytest.raises(CheckpointError, match=message):
        from_state_dict(broken)


def test_unknown_keys_are_named_and_many_are_counted(state):
    extra = {f"noise_estimator.extra.{i}": torch.zeros(1) for i in range(5)}
    with pytest.raises(
        CheckpointError,
        match=r"5 unknown keys: noise_estimator\.extra\.0, .*extra\.1, .*extra\.2, \.\.\.$",
    ):
        from_state_dict({**state, **extra})


def test_misshapen_keys_are_named_with_both_shapes(state):
    key = "noise_estimator.middle_block.0.block_seq.0.basic_block.norm.bias"
    with pytest.raises(CheckpointError, match=r"norm\.bias \(expected \[32\], got \[31\]\)"):
        from_state_dict({**state, key: torch.zeros(31)})


def test_all_that_is_wrong_is_said_in_one_line(state):
    broken = changed(state, noise_estimator__outc__conv__conv__bias=None, odd=torch.zeros(1))
    with pytest.raises(CheckpointError) as raised:
        from_state_dict(broken)
    assert "1 missing key: noise_estimator.outc" in str(raised.value)
    assert "1 unknown key: odd" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_hostile_names_cannot_break_the_line(state):
    with pytest.raises(CheckpointError) as raised:
        from_state_dict({**state, "a\nb\x1b[31m": torch.zeros(1)})
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("noise_estimator.in_conv.conv.weight", None, "lacks the key .*in_conv.*DAMM-Diffusion"),
        ("noise_estimator.in_conv.conv.weight", (64,), "must have 4 dimensions, got shape"),
        ("latent_embedder.vqvae.quantizer.embedder.weight", (2, 3, 4), "must have 2 dimensions"),
        ("noise_estimator.in_conv.conv.weight", (48, 8, 3, 3), "no valid network: U-Net channels"),
        ("noise_estimator.time_embedder.time_emb.3.weight", (30, 30), "time_channels must be"),
        ("latent_embedder.vqvae.quantizer.embedder.weight", (16, 5), "latent channels must be 4"),
    ],
)
def test_shapes_that_make_no_network_are_refused(state, key, shape, message):
    broken = {**state, key: None if shape is None else torch.zeros(shape)}
    broken = {k: v for k, v in broken.items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        from_state_dict(broken)


def test_shapes_that_promise_a_giant_take_no_memory(state):
    # 2^20 channels would make a network of terabytes; the tensor itself is tiny
    giant = torch.zeros(2**20, 1, 1, 1)
    key = "noise_estimator.in_blocks.0.0.block_seq.0.basic_block.conv.weight"
    with pytest.raises(CheckpointError, match=r"misshapen keys|channels must be 2 to 8"):
        from_state_dict({**state, key: giant})


def test_what_is_wrong_comes_with_the_file_s_name(tmp_path, state):
    broken = changed(state, odd=torch.zeros(1))
    path = save_lightning(tmp_path / "odd one.ckpt", broken)
    with pytest.raises(CheckpointError, match=r"odd one\.ckpt: the checkpoint does not fit"):
        import_authors_checkpoint(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(FileNotFoundError, match=r"none\.ckpt"):
        import_authors_checkpoint(tmp_path / "none.ckpt")
