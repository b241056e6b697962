"""A file that is no model of ours is refused in one clear sentence that names it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import header_of, tiny_config, with_card, with_header
from safetensors.torch import save_file

from napari_damm import model_file


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(ValueError, match=path.name) as raised:
        model_file.load_model(path, "cpu")
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


def test_a_missing_file_is_an_os_error(tmp_path):
    for read in (model_file.load_model, model_file.read_card):
        with pytest.raises(FileNotFoundError, match=r"no such model file: .*none\.safetensors"):
            read(tmp_path / "none.safetensors")


@given(length=st.integers(min_value=0))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_short_anywhere_is_refused(tiny_model_file, length):
    data = tiny_model_file.read_bytes()
    path = tiny_model_file.with_name("short.safetensors")
    path.write_bytes(data[: length % len(data)])
    assert "cut short" in refusal(path)


def test_a_file_with_something_appended_is_refused(tiny_model_file, tmp_path):
    path = tmp_path / "long.safetensors"
    path.write_bytes(tiny_model_file.read_bytes() + b"...")
    assert "longer than its header says" in refusal(path)


@pytest.mark.parametrize(
    "data",
    [
        b"just text, not a model at all",
        (2**63).to_bytes(8, "little") + b"{}",
        (2**24 + 1).to_bytes(8, "little") + b" " * (2**24 + 1),
        (4).to_bytes(8, "little") + b"null",
        (4).to_bytes(8, "little") + b"\xff\xfe{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (8).to_bytes(8, "little") + b'{"a": 1}',
    ],
    ids=["text", "absurd length", "long", "no object", "no text", "deep", "no shape", "number"],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, data):
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(data)
    assert "is not a .safetensors file" in refusal(path)


def test_somebody_else_s_safetensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(2)}, path, {"format": "pt"})
    assert "is not a napari-damm model: its header has no card" in refusal(path)
    save_file({"w": torch.zeros(2)}, path, {"napari_damm": "{nonsense"})
    assert "it is not JSON" in refusal(path)
    save_file({"w": torch.zeros(2)}, path, {"napari_damm": "[1]"})
    assert "unusable card" in refusal(path)


def test_a_checkpoint_is_never_unpickled_but_sent_to_import(tmp_path):
    path = tmp_path / "authors.ckpt"
    torch.save({"state_dict": {}}, path)
    assert "convert it with napari-damm models import" in refusal(path)


def test_a_newer_format_is_refused(tiny_model_file, tmp_path):
    path = with_card(tmp_path / "new.safetensors", tiny_model_file, format_version=2)
    assert "has card format 2, this napari-damm reads format 1: update" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": None}, "has card format None"),
        ({"architecture": None}, "lacks the architecture"),
        ({"architecture": {}}, "invalid architecture on its card: lacks 'first_stages'"),
        ({"modalities": "abc"}, "modalities must be 3 names"),
        ({"modalities": [1, 2, 3]}, "modalities must be 3 names"),
        ({"modalities": "a\nb" * 1000}, "modalities must be 3 names"),
        ({"modalities": [["a"], "b", "c"]}, "modalities must be 3 names"),
        ({"pixel_size_um": True}, "pixel_size_um must be above 0"),
        ({"pixel_size_um": float("inf")}, "it holds the number Infinity"),
    ],
)
def test_a_card_without_what_is_relied_on_is_refused(tiny_model_file, tmp_path, changes, message):
    assert message in refusal(with_card(tmp_path / "card.safetensors", tiny_model_file, **changes))


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("unet", {"channels": [32, 50]}, "multiples of 32"),
        ("unet", {"channels": [32.5, 64]}, "multiples of 32"),
        ("unet", {"channels": [32.0, 64.0]}, "invalid architecture"),
        ("unet", {"channels": "32"}, "invalid architecture"),
        ("unet", {"channels": [32] * 100_000}, "2 to 8 multiples of 32"),
        ("unet", {"channels": [2**40, 2**45]}, "invalid architecture"),
        ("unet", {"channels": [2**20, 2**20, 2**20]}, "up to 8192"),
        ("unet", {"channels": [10**30 * 32, 32]}, "it holds the number 32000"),
        ("unet", {"channels": [96, 64, 32]}, "does not fit its card: it has misshapen tensors"),
        ("unet", {"channels": [32, 64]}, "does not fit its card: it has unknown tensors"),
        ("unet", {"channels": [32, 64, 32, 32]}, "does not fit its card: it lacks tensors"),
        ("unet", {"latent_channels": 8}, "latent channels must be 8"),
        ("unet", {"heads": 1}, "unknown entry 'heads'"),
    ],
)
def test_an_architecture_that_is_not_that_of_the_weights_is_refused(
    tiny_model_file, tmp_path, part, values, message
):
    architecture = tiny_config().to_dict()
    architecture[part].update(values)
    path = with_card(tmp_path / "arch.safetensors", tiny_model_file, architecture=architecture)
    assert message in refusal(path)


def test_missing_unknown_and_misshapen_tensors_are_named(tiny_model_file, tmp_path):
    header, numbers = header_of(tiny_model_file)
    name = "unet.uni.output.bias"
    path = tmp_path / "t.safetensors"

    renamed = {key if key != name else "stranger": value for key, value in header.items()}
    assert f"it lacks tensors (1): {name}" in refusal(with_header(path, renamed, numbers))

    added = {**header, "stranger": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}}
    assert "unknown tensors (1): stranger" in refusal(with_header(path, added, numbers))

    shaped = {**header, name: {**header[name], "shape": [2, 2]}}
    expected = f"misshapen tensors (1): {name} (F16 [2, 2], expected [4])"
    assert expected in refusal(with_header(path, shaped, numbers))

    typed = {**header, name: {**header[name], "dtype": "I16"}}
    assert f"{name} (I16 [4], expected [4])" in refusal(with_header(path, typed, numbers))


def test_a_header_whose_offsets_overlap_is_refused(tiny_model_file, tmp_path):
    header, numbers = header_of(tiny_model_file)
    shapes = [(e["shape"], name) for name, e in header.items() if name != "__metadata__"]
    first, second = next((a, b) for (s, a), (t, b) in pairwise(sorted(shapes)) if s == t)
    header[second] = {**header[second], "data_offsets": header[first]["data_offsets"]}
    path = with_header(tmp_path / "overlap.safetensors", header, numbers)
    assert "is damaged" in refusal(path)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_damaged_header_is_read_or_refused_but_nothing_else(tiny_model_file, changes):
    data = bytearray(tiny_model_file.read_bytes())
    for position, value in changes:
        data[position] = value
    path = tiny_model_file.with_name("flipped.safetensors")
    path.write_bytes(data)
    message = "flipped.safetensors"
    try:
        model_file.load_model(path, "cpu")
    except ValueError as error:
        message = str(error)
    assert "flipped.safetensors" in message
    assert "\n" not in message
