"""Packages of bioimage.io: what is in them, and that they reproduce themselves and Predict."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from models import CARD, random_model

from napari_damm import cli
from napari_damm.engine.config import STEPS
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.model import DAMMConfig
from napari_damm.model_file import bioimageio, load_model, save_model
from napari_damm.model_file.window_network import WindowNetwork


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = random_model(DAMMConfig.of_preset("tiny", "ours"))
    return save_model(model, tmp_path_factory.mktemp("model") / "own.safetensors", CARD)


@pytest.fixture(scope="module")
def package(model_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("package") / "own.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "draft", 2)
        made = export(model_file, out, "--author", "A. Nalyst", "--mode", "draft", "--seed", "3")
    assert made == 0
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def export(model, out, *options):
    command = ["models", "export", str(model), str(out), "--format", "bioimageio"]
    return cli.main([*command, *options])


@pytest.mark.parametrize(
    ("start", "said"),
    [(torch.zeros(2), "starts without any noise"), (torch.ones(2), "Its noise, of seed 3, is")],
)
def test_its_page_says_what_it_starts_from(start, said):
    choice = bioimageio.PackageChoice("expected", 1, 3, start.numpy(), "A. Nalyst")
    assert said in bioimageio._documentation(CARD, choice)


def described(package):
    return json.loads(package["rdf.yaml"])


def network_of(package):
    """Make the network as another program does: from the description and the weights."""
    weights = described(package)["weights"]["pytorch_state_dict"]
    architecture = weights["architecture"]
    assert architecture["import_from"] == WindowNetwork.__module__
    assert architecture["callable"] == WindowNetwork.__name__
    network = WindowNetwork(**architecture["kwargs"])
    state = torch.load(io.BytesIO(package[weights["source"]]), weights_only=True)
    network.load_state_dict(state, strict=True)
    return network.eval()


def tensor(package, name):
    return np.load(io.BytesIO(package[f"{name}.npy"]), allow_pickle=False)


def test_a_package_reproduces_its_test_tensors(package):
    given = [
        torch.from_numpy(bioimageio.scaled(tensor(package, each["id"])))
        for each in described(package)["inputs"]
    ]
    with torch.inference_mode():
        made = network_of(package)(*given)
    for each, output in zip(described(package)["outputs"], made, strict=True):
        expected = tensor(package, each["id"])
        assert list(expected.shape[2:]) == [axis["size"] for axis in each["axes"][2:]]
        np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-5)


def test_a_network_predicts_what_predict_does(model_file, package):
    images = [bioimageio.scaled(tensor(package, n))[0, 0] for n in ("primary", "secondary")]
    network = network_of(package)
    sampling = Sampling(mode="draft", steps=network.steps, seed=3, gamma=0.5, batch_size=1)
    pixels = [np.clip(2 * image - 1, -1, 1) for image in images]
    sampler = WindowSampler(load_model(model_file, "cpu"), sampling, "cpu")
    *_, (ours,) = sampler.run([WindowInput((0, 0), (0, 0), *pixels)])
    with torch.inference_mode():
        target, uncertainty = network(*(torch.from_numpy(each)[None, None] for each in images))
    np.testing.assert_allclose(target[0, 0].numpy(), ours.np, rtol=0, atol=1e-4)
    assert float(uncertainty.mean()) == pytest.approx(float(ours.uncertainty.mean()), abs=1e-5)


def test_every_file_is_named_with_its_sum(package):
    text = package["rdf.yaml"].decode()
    for name in ("primary.npy", "secondary.npy", "target.npy", "weights.pt", "environment.yaml"):
        assert hashlib.sha256(package[name]).hexdigest() in text
    assert package["cover.png"].startswith(b"\x89PNG")
    assert "one window of 256 x 256 px" in " ".join(package["README.md"].decode().split())
    assert described(package)["authors"] == [{"name": "A. Nalyst"}]
    assert described(package)["license"] == CARD["licence"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "onnx"), "--format must be one of safetensors, bioimageio, got 'onnx'"),
        (("--format", "bioimageio"), "give --author"),
        (("--format", "bioimageio", "--author", "A", "--mode", "reference"), "--mode of a package"),
        (("--format", "bioimageio", "--author", "A", "--seed", "-1"), "seed must be"),
        (("--mode", "fast"), "--mode goes with --format bioimageio"),
    ],
)
def test_what_cannot_be_packed_is_refused_in_a_line(options, said, model_file, tmp_path, capfd):
    out = tmp_path / "own.zip"
    assert cli.main(["models", "export", str(model_file), str(out), *options]) == 2
    assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_names_and_what_exists_are_refused(model_file, tmp_path, capfd):
    assert export(model_file, tmp_path / "own.tar", "--author", "A") == 2
    assert "must end in .zip" in capfd.readouterr().err
    (tmp_path / "own.zip").write_text("mine")
    assert export(model_file, tmp_path / "own.zip", "--author", "A") == 2
    assert (tmp_path / "own.zip").read_text() == "mine"
