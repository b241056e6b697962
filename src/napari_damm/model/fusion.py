"""How the two branches meet.

1. `MultiModalFusion` (MMFM), at nine depths: mask each feature, weigh the channels, project.
2. `UncertaintyAwareFusion` (UAFM), at the bottleneck: cross-attention damped by a learned
   confidence per token.

Source: DAMM-Diffusion (arXiv 2503.09491), sections 3.2.1 and 3.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_damm.model.layers import memory_format

SQUEEZE = 16


def project_and_norm(f: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """BN(conv1x1(f)) for f (b, c, h, w).

    With fixed statistics both are one matrix: in eval mode a single product per pixel, which on a
    CPU with one thread is several times faster than torch's 1x1 convolution. Where features are
    kept channel by channel that product would copy them twice, and a convolution does not.
    """
    if norm.training or norm.running_mean is None or norm.running_var is None:
        out: Tensor = norm(conv(f))
        return out
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = 0.0 if conv.bias is None else conv.bias
    shift = (bias - norm.running_mean) * gain + norm.bias
    matrix = conv.weight.flatten(1) * gain[:, None]
    if memory_format(f.device.type) == torch.contiguous_format:
        return F.conv2d(f, matrix[:, :, None, None], shift)
    return F.linear(f.permute(0, 2, 3, 1), matrix, shift).permute(0, 3, 1, 2)


class SpatialMask(nn.Sequential):
    """A feature's own mask in (0, 1): sigmoid(BN(conv(SiLU(BN(conv(f)))))), all 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 2 * channels, 1),
            nn.BatchNorm2d(2 * channels),
            nn.SiLU(),
            nn.Conv2d(2 * channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, f: Tensor) -> Tensor:
        """Mask of f (b, c, h, w)."""
        expand, expand_norm, _, reduce, reduce_norm, _ = self
        assert isinstance(expand, nn.Conv2d)
        assert isinstance(reduce, nn.Conv2d)
        assert isinstance(expand_norm, nn.BatchNorm2d)
        assert isinstance(reduce_norm, nn.BatchNorm2d)
        hidden = F.silu(project_and_norm(f, expand, expand_norm))
        return torch.sigmoid(project_and_norm(hidden, reduce, reduce_norm))


class SqueezeExcitation(nn.Module):
    """Weigh channels by their global average: f * sigmoid(W2 relu(W1 mean(f)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // SQUEEZE, bias=False)
        self.excite = nn.Linear(channels // SQUEEZE, channels, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        """Weigh the channels of f (b, c, h, w)."""
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(f.mean(dim=(2, 3))))))
        return f * weight[:, :, None, None]


class MultiModalFusion(nn.Module):
    """MMFM: fuse a uni-modal and a multi-modal feature of one depth into a multi-modal one.

    a' = a mask_a(a), b' = b mask_b(b); result = BN(conv1x1(SE(concat(a', b')))).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask_uni = SpatialMask(channels)
        self.mask_multi = SpatialMask(channels)
        self.attention = SqueezeExcitation(2 * channels)
        self.project = nn.Conv2d(2 * channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, uni: Tensor, multi: Tensor) -> Tensor:
        """Fuse (b, c, h, w) with (b, c, h, w) into (b, c, h, w)."""
        both = torch.cat([uni * self.mask_uni(uni), multi * self.mask_multi(multi)], dim=1)
        return project_and_norm(self.attention(both), self.project, self.norm)


class Concatenation(nn.Module):
    """What MMFM is compared with: a 1x1 convolution of both features, and nothing else."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, uni: Tensor, multi: Tensor) -> Tensor:
        """Fuse (b, c, h, w) with (b, c, h, w) into (b, c, h, w)."""
        out: Tensor = self.project(torch.cat([uni, multi], dim=1))
        return out


class Attended(NamedTuple):
    """What UAFM returns: `feature` (b, c, h, w) and `confidence` u (b, h, w) in (0, 1)."""

    feature: Tensor
    confidence: Tensor


class UncertaintyAwareFusion(nn.Module):
    """UAFM: single-head cross-attention whose keys are damped by a learned confidence.

    u = sigmoid(Linear(norm(s)));  A = softmax_keys((q k^T / sqrt(C)) * u);
    result = s + conv1x1(A v), with q from the uni-modal s, and k, v from the multi-modal m.
    With `sees_both`, u is read from norm(s) and norm(m) together: the paper's never sees the
    secondary image, and so cannot tell that it misleads.
    """

    def __init__(self, channels: int, sees_both: bool = False) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.sees_both = sees_both
        self.confidence = nn.Linear((1 + sees_both) * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, uni: Tensor, multi: Tensor, use_uncertainty: bool = True) -> Attended:
        """Attend from uni (b, c, h, w) to multi (b, c, h, w).

        With `use_uncertainty=False` the attention is plain (the joint training phase); the
        confidence is returned all the same.
        """
        b, c, h, w = uni.shape
        s, m = self.norm(uni), self.norm(multi)
        query = self.query(s).flatten(2).transpose(1, 2)
        key = self.key(m).flatten(2)
        value = self.value(m).flatten(2).transpose(1, 2)
        seen = torch.cat([s, m], dim=1) if self.sees_both else s
        u = torch.sigmoid(self.confidence(seen.flatten(2).transpose(1, 2))).squeeze(2)
        scores = query @ key * c**-0.5
        if use_uncertainty:
            scores = scores * u[:, None, :]
        attended = (scores.softmax(dim=2) @ value).transpose(1, 2).reshape(b, c, h, w)
        return Attended(uni + self.project(attended), u.reshape(b, h, w))
