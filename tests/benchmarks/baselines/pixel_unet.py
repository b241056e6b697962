"""A regression U-Net on pixels, small enough to train on a few fields in minutes.

1. 16 channels at full resolution, doubled at each of four levels, batch norm, plain skips.
2. Squared error of crops, turned and mirrored; AdamW with a cosine over the time that is given; the
   moving average of the weights is what predicts, with batch statistics taken anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

Fields = Sequence[NDArray[np.float32]]
CROP_PX, BATCH, RATE, EMA_DECAY, WARM_UP_STEPS = 128, 8, 2e-3, 0.99, 50
CALIBRATION_BATCHES, DEPTH = 32, 16


class PixelUNet(nn.Module):
    """Vessels and nuclei (b, 2, h, w) -> the tracer (b, 1, h, w), all in -1..1."""

    def __init__(self, width: int = 16, levels: int = 4) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([2, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(_block(fine + coarse, fine) for fine, coarse in pairwise(widths))
        self.output = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network; sides are multiples of 16."""
        skips: list[Tensor] = []
        h = x
        for level, block in enumerate(self.down):
            h = block(h if level == 0 else F.avg_pool2d(h, 2))
            skips.append(h)
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            h = block(torch.cat([skip, F.interpolate(h, scale_factor=2.0)], dim=1))
        out: Tensor = self.output(h)
        return out


def train_pixel_unet(fields: Fields, seconds: float, seed: int = 0) -> nn.Module:
    """Train on fields (3, y, x) in 0..1 (vessels, nuclei, tracer) for so long on the clock."""
    torch.manual_seed(seed)
    net = PixelUNet()
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    began, step = time.monotonic(), 0
    while (used := (time.monotonic() - began) / seconds) < 1:
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * used))
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate
        inputs, target = _batch(fields, seed, step)
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(net(inputs), target).backward()
        optimizer.step()
        mean.update_parameters(net)
        step += 1
    again = range(step, step + CALIBRATION_BATCHES)
    update_bn((_batch(fields, seed, k)[0] for k in again), mean)
    return mean.module.eval()


@torch.inference_mode()
def predict_pixels(net: nn.Module, field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict the tracer (y, x) in 0..1 of a field (2 or more, y, x) in 0..1."""
    height, width = field.shape[1:]
    over = ((0, 0), (0, -height % DEPTH), (0, -width % DEPTH))
    image = np.pad(field[:2], over, mode="reflect") * 2 - 1
    made = net(torch.from_numpy(image)[None])[0, 0, :height, :width]
    found: NDArray[np.float32] = ((made + 1) / 2).numpy()
    return found


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.BatchNorm2d(after), nn.SiLU()]
    return nn.Sequential(*layers)


def _batch(fields: Fields, seed: int, step: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng([seed, step])
    crops = []
    for _ in range(BATCH):
        field = fields[int(rng.integers(len(fields)))]
        y, x = (int(rng.integers(0, n - CROP_PX + 1)) for n in field.shape[1:])
        crop = field[:, y : y + CROP_PX, x : x + CROP_PX]
        crop = np.rot90(crop, int(rng.integers(4)), (1, 2))
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    batch = torch.from_numpy(np.ascontiguousarray(np.stack(crops))) * 2 - 1
    return batch[:, :2], batch[:, 2:]
