"""Start a noise estimator for new autoencoders from one that was trained for others.

Run: python tests/benchmarks/change_latents.py OLD NEW OUT [--sections 24]

A noise estimator sees latents through its first convolutions and answers through its last ones.
Everything between is taken over as it is; those two are fitted anew, by least squares on simulated
sections of training seeds, so that with the new latents they give what the old ones gave:

1. first convolution: 3x3 patches of the new latents -> what the old one makes of the old latents;
2. last convolution, at the highest noise: features -> minus the target's new latent, the velocity
   that the expected map asks for.

OLD and NEW are model files of one size of noise estimator; OUT is NEW with that start.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.model.damm import DAMM
from napari_damm.model_file import load_model, save_model
from napari_damm.simulate import simulate_slide

FIRST_SEED, SIZE, RIDGE = 300, 512, 1e-3
IMAGES = {"primary": "vessels", "secondary": "nuclei", "target": "nanoparticles"}


def windows(sections: int) -> list[dict[str, Tensor]]:
    """Return the images of simulated sections, (1, 1, 256, 256) in [-1, 1], four of each."""
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + sections):
        section = simulate_slide(SIZE, seed, "varied" if seed % 4 else "internal")
        images = {}
        for role, name in IMAGES.items():
            image = getattr(section, name)
            low, high = np.percentile(image, (0.1, 99.9))
            scaled = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
            images[role] = torch.from_numpy(scaled * 2 - 1)[None, None]
        k = seed % 4
        y, x = 256 * (k // 2), 256 * (k % 2)
        found.append({role: image[..., y : y + 256, x : x + 256] for role, image in images.items()})
    return found


class LeastSquares:
    """Sums for a ridge regression of many pixels."""

    def __init__(self) -> None:
        self.xx: Tensor | float = 0.0
        self.xy: Tensor | float = 0.0
        self.yy: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add pixels: x (n, k), y (n, m)."""
        x = torch.cat([x, torch.ones(len(x), 1)], dim=1).double()
        y = y.double()
        self.xx, self.xy = self.xx + x.T @ x, self.xy + x.T @ y
        self.yy = self.yy + (y - y.mean(0)).square().sum()

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return weight (m, k) and bias (m,)."""
        n = self.xx[-1, -1]
        ridge = RIDGE * n * torch.eye(len(self.xx), dtype=torch.float64)
        ridge[-1, -1] = 0
        w = torch.linalg.solve(self.xx + ridge, self.xy)
        left = self.yy - 2 * (w * self.xy).sum() + (w * (self.xx @ w)).sum()
        print(f"  explains about {1 - float(left / self.yy):.3f}", flush=True)
        return w[:-1].T.float(), w[-1].float()


def patches(z: Tensor) -> Tensor:
    """3x3 neighbourhoods of (1, c, h, w) -> (h w, c 9)."""
    return F.unfold(z, 3, padding=1)[0].T


def pixels(z: Tensor) -> Tensor:
    """(1, c, h, w) -> (h w, c)."""
    return z[0].flatten(1).T


@torch.no_grad()
def change(old: DAMM, new: DAMM, sections: int) -> None:
    """Give `new` the noise estimator of `old`, first and last convolutions fitted."""
    taken = {
        n: v for n, v in old.unet.state_dict().items() if ".input." not in n and ".output." not in n
    }
    new.unet.load_state_dict({**new.unet.state_dict(), **taken})
    given = windows(sections)
    o, n = old.config.unet.latent_channels, new.config.unet.latent_channels
    latents = [
        {role: (old.encode(image, role), new.encode(image, role)) for role, image in each.items()}
        for each in given
    ]
    for branch, role in (("uni", "primary"), ("multi", "secondary")):
        before, after = getattr(old.unet, branch), getattr(new.unet, branch)
        parts = []
        for which, lo in (("target", 0), (role, o)):
            fit = LeastSquares()
            for each in latents:
                z_old, z_new = each[which]
                weight = before.input.weight[:, lo : lo + o]
                fit.add(patches(z_new), pixels(F.conv2d(z_old, weight, padding=1)))
            print(branch, which, "first")
            w, b = fit.solve()
            parts.append((w.reshape(-1, n, 3, 3), b))
        after.input.weight.copy_(torch.cat([w for w, _ in parts], dim=1))
        after.input.bias.copy_(before.input.bias + sum(b for _, b in parts))
    fits = {"uni": LeastSquares(), "multi": LeastSquares()}
    kept: dict[str, Tensor] = {}
    hooks = [
        getattr(old.unet, branch).output.register_forward_pre_hook(
            lambda _, args, branch=branch: kept.__setitem__(branch, args[0].clone())
        )
        for branch in fits
    ]
    for each in latents:
        x_t = torch.randn_like(each["target"][0])
        old.unet(x_t, torch.tensor([999]), each["primary"][0], each["secondary"][0])
        for branch, fit in fits.items():
            fit.add(pixels(kept[branch]), -pixels(each["target"][1]))
    for hook in hooks:
        hook.remove()
    for branch, fit in fits.items():
        print(branch, "last")
        w, b = fit.solve()
        output = getattr(new.unet, branch).output
        output.weight.copy_(w[:, :, None, None])
        output.bias.copy_(b)


def main(arguments: Sequence[str] | None = None) -> None:
    """Change the latents and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sections", type=int, default=24)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    old, new = (load_model(path, "cpu").eval() for path in (args.old, args.new))
    config = replace(
        new.config,
        gate=old.config.gate,
        read_out=old.config.read_out,
        uni_share=old.config.uni_share,
    )
    changed = DAMM(config, new.card).eval()
    changed.load_state_dict(new.state_dict())
    change(old, changed, args.sections)
    print(save_model(changed, args.out))


if __name__ == "__main__":
    main()
