"""One-file models: saved whole and loaded exactly."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from models import CARD, header_of, random_model, tiny_config, with_header
from safetensors import safe_open

from napari_damm import model_file
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model_file import weights

# ---------------------------------------------------------------- saving and loading


@torch.no_grad()
def test_a_loaded_model_computes_what_was_saved_up_to_float16(tiny_model_file):
    original, loaded = random_model(), model_file.load_model(tiny_model_file, "cpu")
    assert not loaded.training
    assert loaded.config == original.config
    for name, value in original.state_dict().items():
        exact = name.endswith(("running_mean", "running_var", "codebook", "tracked"))
        expected = value if exact else value.half().float()
        assert torch.equal(loaded.state_dict()[name], expected), name


def test_saving_what_was_loaded_gives_the_same_file(tiny_model_file, tmp_path):
    again = model_file.save_model(
        model_file.load_model(tiny_model_file, "cpu"), tmp_path / "b.safetensors"
    )
    assert again.read_bytes() == tiny_model_file.read_bytes()


def test_weights_are_float16_but_statistics_and_codebooks_float32(tiny_model_file):
    with safe_open(tiny_model_file, "pt") as stored:
        types = {name: stored.get_slice(name).get_dtype() for name in stored.keys()}  # noqa: SIM118
    exact = {name for name in types if name.endswith(("running_mean", "running_var", "codebook"))}
    counts = {name for name in types if name.endswith("num_batches_tracked")}
    assert {types[name] for name in exact} == {"F32"}
    assert {types[name] for name in counts} == {"I64"}
    assert {types[name] for name in set(types) - exact - counts} == {"F16"}


def test_the_small_model_is_under_30_mb(tmp_path):
    path = model_file.save_model(DAMM(DAMMConfig.small()), tmp_path / "small.safetensors")
    assert path.stat().st_size < 30e6


def test_the_card_comes_back_with_what_saving_adds(tiny_model_file):
    card = model_file.read_card(tiny_model_file)
    assert {key: card[key] for key in CARD} == CARD
    assert card["format_version"] == 1
    assert DAMMConfig.from_dict(card["architecture"]) == tiny_config()
    assert "sha256" not in card


def test_a_loaded_model_knows_its_file_s_checksum(tiny_model_file):
    expected = hashlib.sha256(tiny_model_file.read_bytes()).hexdigest()
    assert model_file.load_model(tiny_model_file, "cpu").card["sha256"] == expected
    assert model_file.sha256(tiny_model_file) == expected


def test_a_model_without_a_name_takes_its_file_s(tmp_path):
    path = model_file.save_model(random_model(), tmp_path / "mine.safetensors")
    assert model_file.read_card(path)["name"] == "mine"


def test_a_loaded_model_does_not_depend_on_its_file(tiny_model_file, tmp_path):
    path = tmp_path / "gone.safetensors"
    path.write_bytes(tiny_model_file.read_bytes())
    model = model_file.load_model(path, "cpu")
    with path.open("r+b") as stream:
        stream.write(b"\0" * path.stat().st_size)
    assert bool(model.first_stage().quantizer.codebook.any())


def test_a_model_that_is_given_is_returned(tiny_model):
    assert model_file.load_model(tiny_model) is tiny_model
    assert model_file.load_model(tiny_model, "cpu") is tiny_model


def test_nothing_is_saved_from_weights_that_are_not_finite(tmp_path):
    model = random_model()
    with torch.no_grad():
        model.unet.uni.output.bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"unet\.uni\.output\.bias are not finite"):
        model_file.save_model(model, tmp_path / "nan.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"modalities": ["vessels", "nuclei"]}, "modalities must be 3 names"),
        ({"modalities": ["a", "a", "b"]}, "modalities must be 3 names"),
        ({"pixel_size_um": -1}, "pixel_size_um must be above 0.*, got -1"),
        ({"pixel_size_um": "1 um"}, "pixel_size_um must be above 0.*, got '1 um'"),
        ({"path": Path("x")}, "the card must be plain JSON values"),
        ({"metrics": {"ssim": float("nan")}}, "the card must be plain JSON values"),
    ],
)
def test_nothing_is_saved_with_a_card_that_could_not_be_read(tmp_path, tiny_model, card, message):
    with pytest.raises(ValueError, match=message):
        model_file.save_model(tiny_model, tmp_path / "x.safetensors", card)
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_has_one_suffix_only(tmp_path, tiny_model):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got .*x\.pt"):
        model_file.save_model(tiny_model, tmp_path / "x.pt")


# ---------------------------------------------------------------- writing entire files


@pytest.mark.parametrize("before", [None, b"older"])
def test_a_full_disk_leaves_what_was_there_before(tmp_path, monkeypatch, tiny_model, before):
    path = tmp_path / "x.safetensors"
    if before:
        path.write_bytes(before)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot be written: No space.*x\.safetensors") as raised:
        model_file.save_model(tiny_model, path)
    assert raised.value.errno == errno.ENOSPC
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([before] if before else [])


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch, tiny_model):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model_file.save_model(tiny_model, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path, tiny_model):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist: create it"):
        model_file.save_model(tiny_model, tmp_path / "nowhere" / "x.safetensors")


# ---------------------------------------------------------------- devices


def test_auto_takes_the_best_device_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert model_file.resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert model_file.resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert model_file.resolve_device("auto").type == "cuda"
    assert model_file.resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_a_remedy(monkeypatch, tiny_model_file, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    said = f"^device {device} is .*, and PyTorch .* finds none here: leave"
    with pytest.raises(ValueError, match=said):
        model_file.load_model(tiny_model_file, device)


def test_an_unknown_device_is_refused_with_the_choices(tiny_model_file):
    with pytest.raises(ValueError, match="one of auto, cpu, cuda, mps, got 'gpu'"):
        model_file.load_model(tiny_model_file, "gpu")


# ---------------------------------------------------------------- files that change, bad numbers


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
def test_the_checksum_is_that_of_the_bytes_that_were_read(
    tiny_model_file, tmp_path, monkeypatch, how
):
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    path.write_bytes(tiny_model_file.read_bytes())
    model_file.save_model(random_model(seed=1), other, CARD)
    real = weights.read_header

    def swap(stream, name):
        header = real(stream, name)
        if how == "replaced":
            other.replace(path)
        else:
            path.write_bytes(other.read_bytes())
        return header

    monkeypatch.setattr(weights, "read_header", swap)
    loaded = model_file.load_model(path, "cpu")
    monkeypatch.setattr(weights, "read_header", real)
    on_disk = hashlib.sha256(path.read_bytes()).hexdigest()
    first = hashlib.sha256(tiny_model_file.read_bytes()).hexdigest()
    if how == "replaced":
        assert loaded.card["sha256"] == first != on_disk
    same = content(loaded) == content(model_file.load_model(tiny_model_file, "cpu"))
    assert same == (loaded.card["sha256"] == first)


def content(model):
    return model_file.content_hash(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny_model_file, tmp_path, value):
    header, numbers = header_of(tiny_model_file)
    name = "unet.uni.output.bias"
    start = header[name]["data_offsets"][0]
    bad = np.array([value], np.float16).tobytes()
    path = with_header(
        tmp_path / "bad.safetensors", header, numbers[:start] + bad + numbers[start + 2 :]
    )
    with pytest.raises(ValueError, match=r"bad\.safetensors .* unet\.uni\.output\.bias .*finite"):
        model_file.load_model(path, "cpu")
