"""A baseline without any picture of its surroundings: a small network on a few numbers per pixel.

1. A pixel's numbers: both images, as they are and blurred by up to two pixels.
2. Squared error of pixels drawn at random; AdamW with a cosine; some ten seconds.

What it gains over a linear model of the same numbers is what two stains say together of one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

Image = NDArray[np.float32]
SIGMAS = (0.0, 0.5, 1.0, 2.0)
WIDTH, STEPS, BATCH, RATE = 64, 1500, 2048, 3e-3


def pixel_numbers(field: Image) -> NDArray[np.float32]:
    """Return the numbers (pixels, 8) of a field (2 or more, y, x): vessels, then nuclei."""
    blurred = [ndimage.gaussian_filter(image, sigma) for image in field[:2] for sigma in SIGMAS]
    return np.stack(blurred, axis=-1).reshape(-1, 2 * len(SIGMAS)).astype(np.float32)


def pixel_mlp(train: Sequence[Image], field: Image, seed: int = 0) -> Image:
    """Fit fields (3, y, x) in 0..1 (vessels, nuclei, tracer), and draw the tracer of another."""
    torch.manual_seed(seed)
    numbers = np.concatenate([pixel_numbers(each) for each in train])
    mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
    inputs = torch.from_numpy((numbers - mean) / spread)
    truth = torch.from_numpy(np.concatenate([each[2].ravel() for each in train]))
    layers = nn.Linear(inputs.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
    optimizer = torch.optim.AdamW(net.parameters(), RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        rows = torch.randint(0, len(truth), (BATCH,))
        optimizer.zero_grad(set_to_none=True)
        (net(inputs[rows])[:, 0] - truth[rows]).square().mean().backward()
        optimizer.step()
    with torch.inference_mode():
        made = net(torch.from_numpy((pixel_numbers(field) - mean) / spread))
    found: Image = made.numpy().reshape(field.shape[1:])
    return found
