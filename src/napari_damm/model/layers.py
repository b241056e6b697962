"""The building blocks shared by the autoencoders and the noise estimator.

1. `ConvUnit`: convolution, group norm, SiLU.
2. `ResUnit`: a ConvUnit with a skip connection.
3. `ResBlock`: two ResUnits, the time embedding added between them.
4. `Downsample` and `Upsample`: a factor of two, learned.
5. `sinusoids`, `TimeEmbedding`: what a diffusion time looks like to a ResBlock.

Source: DAMM-Diffusion (arXiv 2503.09491), sections 3.2 and 3.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_GROUPS = 32
MOST_LEVELS = 8
MOST_CHANNELS = 8192


def check_channels(what: str, channels: tuple[int, ...]) -> None:
    """Check the channel counts of a network's levels, shallow to deep."""
    widths = range(NORM_GROUPS, MOST_CHANNELS + 1, NORM_GROUPS)
    if not 2 <= len(channels) <= MOST_LEVELS or any(
        type(c) is not int or c not in widths for c in channels
    ):
        rule = f"2 to {MOST_LEVELS} multiples of {NORM_GROUPS} up to {MOST_CHANNELS}"
        raise ValueError(f"{what} channels must be {rule}, got {channels!r:.80}")


def check_size(name: str, size: int, low: int, high: int) -> None:
    """Check a size of a network: a whole number within bounds, whoever wrote it."""
    if type(size) is not int or not low <= size <= high:
        raise ValueError(f"{name} must be a whole number in {low}..{high}, got {size!r:.40}")


def memory_format(device: str) -> torch.memory_format:
    """Return the layout in memory in which convolutions are fastest on a kind of device.

    On a CPU channels last, by a fifth. On a graphics card group norm is not made for it.
    """
    return torch.channels_last if device == "cpu" else torch.contiguous_format


def zero_init(conv: nn.Conv2d) -> nn.Conv2d:
    """Return `conv` with weight and bias set to zero: it starts as no contribution at all."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class ConvUnit(nn.Module):
    """Convolution (b, c_in, h, w) -> (b, c_out, h/stride, w/stride), then GroupNorm and SiLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        padding = (kernel - stride + 1) // 2
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding)
        self.norm = nn.GroupNorm(NORM_GROUPS, c_out, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit to (b, c_in, h, w)."""
        # Without gradients nobody needs what the activation overwrites.
        return F.silu(self.norm(self.conv(x)), inplace=not torch.is_grad_enabled())


class ResUnit(nn.Module):
    """`ConvUnit(x) + skip(x)`; the skip is a 1x1 convolution where the channel count changes."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.unit = ConvUnit(c_in, c_out)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the unit to (b, c_in, h, w)."""
        out: Tensor = self.unit(x)
        return out + self.skip(x) if torch.is_grad_enabled() else out.add_(self.skip(x))


class ResBlock(nn.Module):
    """Two ResUnits; with a time embedding e, Linear(SiLU(e)) is added after the first only."""

    def __init__(self, c_in: int, c_out: int, time_channels: int | None = None) -> None:
        super().__init__()
        self.first = ResUnit(c_in, c_out)
        self.second = ResUnit(c_out, c_out)
        self.time = None if time_channels is None else nn.Linear(time_channels, c_out)
        zero_init(self.second.unit.conv)

    def forward(self, x: Tensor, e: Tensor | None = None) -> Tensor:
        """Apply the block to x (b, c_in, h, w) at time embedding e (b, time_channels)."""
        h = self.first(x)
        if self.time is not None and e is not None:
            h = h + self.time(F.silu(e))[:, :, None, None]
        out: Tensor = self.second(h)
        return out


class Downsample(nn.Module):
    """Strided 3x3 convolution: (b, c_in, h, w) -> (b, c_out, ceil(h/2), ceil(w/2))."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the resolution of (b, c_in, h, w)."""
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Nearest neighbour x2, then a 3x3 convolution: (b, c_in, h, w) -> (b, c_out, 2h, 2w)."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Double the resolution of (b, c_in, h, w)."""
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            return upsample_by_phases(x, self.conv.weight, self.conv.bias)
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest-exact"))
        return out


def upsample_by_phases(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute the same as `Upsample` with 16 instead of 36 multiplications per pixel of x.

    After a nearest x2 upsampling, two of three taps along an axis fall on the same pixel of x. So
    each of the four phases of the output (even or odd row, even or odd column) is a 2x2
    convolution of x, and one convolution computes all four.
    """
    c_out, (h, w) = weight.shape[0], x.shape[2:]
    phases = [_paired(rows, 3) for rows in _paired(weight, 2)]
    kernel = torch.cat([phases[row][col] for row in (0, 1) for col in (0, 1)])
    layout = memory_format(x.device.type)
    kernel = kernel.contiguous(memory_format=layout)
    every = F.conv2d(x, kernel, None if bias is None else bias.repeat(4), padding=1)
    out = x.new_empty((x.shape[0], c_out, 2 * h, 2 * w)).contiguous(memory_format=layout)
    for phase in range(4):
        row, col = divmod(phase, 2)
        part = every[:, phase * c_out : (phase + 1) * c_out, row : row + h, col : col + w]
        out[:, :, row::2, col::2] = part
    return out


def _paired(weight: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Sum the taps of an axis that fall on the same pixel: of the even phase, of the odd one."""
    first, middle, last = weight.unbind(dim)
    even = torch.stack([first, middle + last], dim)
    return even, torch.stack([first + middle, last], dim)


def sinusoids(t: Tensor, size: int) -> Tensor:
    """Turn times t (b,) into waves (b, size) float32: sin(t f_k), then cos(t f_k).

    f_k = exp(-ln(10000) k / (half - 1)), k = 0 .. half - 1, half = size / 2.
    """
    half = size // 2
    k = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000.0) * (k / max(half - 1, 1)))
    angle = t.float()[:, None] * frequencies[None, :]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Diffusion times (b,) -> (b, channels): sinusoids of size channels/4, then a small MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.size = channels // 4
        self.expand = nn.Linear(self.size, channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, t: Tensor) -> Tensor:
        """Embed integer times t (b,)."""
        wave = sinusoids(t, self.size).to(self.mix.weight.dtype)
        out: Tensor = self.mix(F.silu(self.expand(wave)))
        return out
