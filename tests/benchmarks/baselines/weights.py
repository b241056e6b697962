"""The file of a trained baseline: a .safetensors file whose header says what it is.

1. Save: the weights of the predicting network, what it was trained with in the header.
2. Load: build that network again, and predict whole images, or tile by tile where large.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from napari_damm.util.files import written_whole

from .unet import DEPTH, build_unet

Image = NDArray[np.float32]

HEADER = "baseline"
TILE = 512
OVERLAP = 0.25


def save_network(net: nn.Module, path: Path, header: dict[str, Any]) -> None:
    """Write the weights; `header` holds `features` and whatever else should be known later."""
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    with written_whole(path) as stream:
        stream.write(save(tensors, {HEADER: json.dumps(header)}))


def load_network(path: str | PathLike[str]) -> nn.Module:
    """Return the network of `path`, ready to predict.

    Raises
    ------
    ValueError
        If the file is not one that `save_network` wrote.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})[HEADER])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is not the file of a trained baseline: {error}") from None
    net = build_unet(tuple(header["features"]))
    net.load_state_dict(tensors)
    return net.eval().requires_grad_(False)


def count_parameters(path: str | PathLike[str]) -> int:
    """Return the number of trained parameters; running statistics do not count."""
    return sum(parameter.numel() for parameter in load_network(path).parameters())


def load_predictor(path: str | PathLike[str]) -> Callable[[Image, Image], Image]:
    """Return predict(vessels, nuclei) -> nanoparticles, all float32 (y, x), relative intensity."""
    net = load_network(path)

    def predict(vessels: Image, nuclei: Image) -> Image:
        if vessels.shape != nuclei.shape or vessels.ndim != 2:
            raise ValueError(
                f"images must be (y, x) and of one shape, got {vessels.shape} and {nuclei.shape}"
            )
        height, width = vessels.shape
        padding = [(0, 0), (0, -height % DEPTH), (0, -width % DEPTH)]
        stacked = np.pad(np.stack([vessels, nuclei]).astype(np.float32), padding, mode="reflect")
        tile = min(TILE, stacked.shape[1]), min(TILE, stacked.shape[2])
        with torch.inference_mode():
            inputs = torch.from_numpy(stacked)[None] * 2 - 1
            tiled = sliding_window_inference(inputs, tile, 1, net, OVERLAP, mode="gaussian")
        assert isinstance(tiled, torch.Tensor)
        predicted: Image = tiled[0, 0, :height, :width].numpy()
        return (predicted + np.float32(1)) / np.float32(2)

    return predict
