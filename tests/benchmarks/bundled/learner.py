"""The steps of the bundled model's training, and the latents that they learn from.

1. Half of a batch of latents learns the velocity of a random time, half that at the highest noise
   with x_t = 0, which is the expected map. Errors are squared, of images as they were taken. The
   multi-modal branch does not learn where divergence was planted, the gate learns to find it.
2. In steps with pixels the expected map of further windows is drawn too, and its error counts where
   it is seen: what guides the target's decoder and what adds detail learn then. The autoencoders
   themselves stay as they are.
3. On a graphics card a step is a CUDA graph, in bfloat16 where that does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_damm.engine.step_graph import CudaRecorder
from napari_damm.model.damm import DAMM, ROLES
from napari_damm.model.gate import BACKGROUND
from napari_damm.schedule import TIMESTEPS, NoiseSchedule
from napari_damm.train.expected import MISLEADS, pixel_error
from napari_damm.train.settling import statistics_anew
from napari_damm.util.tiling import WINDOW

from .sections import Sections
from .settings import Settings

CLIP, BETAS, WEIGHT_DECAY = 1.0, (0.9, 0.99), 0.01
EMA_DECAY = 0.998
GATE_WEIGHT, PIXEL_WEIGHT, REPRODUCED_WEIGHT = 0.1, 10.0, 2.5
REPRODUCED_SHARE = 8
"""One of so many windows is drawn of the target's own latents as well: samples are drawn so."""
TINY = 1e-6
WARM_UP_ROUNDS = 3


class Bank:
    """Latents (n, 3, c, h, w) of windows, and which share of each of their pixels misleads."""

    def __init__(self, model: DAMM, sections: Sections, settings: Settings) -> None:
        config = model.config
        side = WINDOW // config.latent_factor
        shape = settings.bank, len(ROLES), config.unet.latent_channels, side, side
        self.latents = torch.empty(shape, dtype=torch.half, device=sections.device)
        self.planted = torch.empty((settings.bank, side, side), device=sections.device)
        self.count = 0
        self._model, self._sections = model, sections

    @torch.no_grad()
    def renew(self, count: int, generator: torch.Generator) -> None:
        """Encode new windows, in the place of the oldest."""
        images, misleads = self._sections.windows(count, generator)
        with half(images.device):
            latents = [
                self._model.encode(images[:, k : k + 1], role) for k, role in enumerate(ROLES)
            ]
        at = (self.count + torch.arange(count, device=images.device)) % len(self.latents)
        self.latents[at] = torch.stack(latents, dim=1).half()
        self.planted[at] = shares(misleads, self._model.config.latent_factor)
        self.count += count

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return latents and shares of windows drawn at random."""
        there, device = min(self.count, len(self.latents)), self.latents.device
        at = torch.randint(there, (count,), generator=generator, device=device)
        return self.latents[at].float(), self.planted[at]


class Learner:
    """The network, its averaged weights, and both kinds of steps; `seen` is what a step sees."""

    def __init__(self, model: DAMM, device: torch.device) -> None:
        self.model, self.device = model, device
        model.requires_grad_(False)
        guide = model.first_stage("target").guide
        assert isinstance(guide, nn.ModuleList)
        assert model.detail is not None
        model.detail.train()
        self.parts = nn.ModuleList([model.unet.train(), nn.ModuleList([guide, model.detail])])
        self.parts.requires_grad_(True)
        abar = NoiseSchedule().alphas_cumprod
        self.signal, self.noise = (
            root.sqrt().float().to(device)[:, None, None, None] for root in (abar, 1 - abar)
        )
        self.rates = [torch.tensor(0.0, device=device) for _ in self.parts]
        self.groups = [list(part.parameters()) for part in self.parts]
        recorded_too: dict[str, Any] = (
            {"fused": True, "capturable": True} if device.type == "cuda" else {}
        )
        self.optimisers = [
            torch.optim.AdamW(group, rate, betas=BETAS, weight_decay=WEIGHT_DECAY, **recorded_too)
            for group, rate in zip(self.groups, self.rates, strict=True)
        ]
        self._hold_rates()
        self.average = [[p.detach().clone() for p in group] for group in self.groups]
        self.seen: dict[str, Tensor] = {}
        self.losses = {
            name: torch.zeros((), device=device) for name in ("velocity", "gate", "map", "own")
        }
        self._replays: dict[bool, Callable[[], object]] = {}

    def show(self, **given: Tensor) -> None:
        """Put what a step sees where it looks."""
        for name, value in given.items():
            if name not in self.seen:
                self.seen[name] = value.clone()
            else:
                self.seen[name].copy_(value)

    @torch.no_grad()
    def step(self, pixels: bool, rates: tuple[float, float], averages: bool) -> None:
        """Make a step, on pixels too or on latents alone; the average follows it, or is it."""
        for held, rate in zip(self.rates, rates, strict=True):
            held.fill_(rate)
        if pixels not in self._replays:
            self._replays[pixels] = recorded(lambda: self._work(pixels), self.device)
        self._replays[pixels]()
        for kept, group in zip(self.average, self.groups, strict=True):
            if averages:
                torch._foreach_lerp_(kept, group, 1 - EMA_DECAY)
            else:
                torch._foreach_copy_(kept, group)

    def settle(self, batches: Iterator[None]) -> None:
        """Let the averaged weights be the weights, with statistics of their own."""
        with torch.no_grad(), statistics_anew(self.parts):
            for kept, group in zip(self.average, self.groups, strict=True):
                torch._foreach_copy_(group, kept)
            for _ in batches:
                with half(self.device):
                    self._loss(True)
        self.model.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on."""
        return {
            "parts": self.parts.state_dict(),
            "optimisers": [each.state_dict() for each in self.optimisers],
            "average": self.average,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.parts.load_state_dict(state["parts"])
        for each, held in zip(self.optimisers, state["optimisers"], strict=True):
            each.load_state_dict(held)
        self._hold_rates()
        self.average = [[z.to(self.device) for z in group] for group in state["average"]]

    def _hold_rates(self) -> None:
        """Let the optimisers read their rates where `step` puts them."""
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate

    @torch.enable_grad()
    def _work(self, pixels: bool) -> None:
        optimisers = self.optimisers if pixels else self.optimisers[:1]
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        with half(self.device):
            loss = self._loss(pixels)
        loss.backward()
        for group, optimiser in zip(self.groups, optimisers, strict=False):
            torch.nn.utils.clip_grad_norm_(group, CLIP, foreach=True)
            optimiser.step()

    def _loss(self, pixels: bool) -> Tensor:
        primary, secondary, target = self.seen["latents"].unbind(1)
        planted, t, eps = (self.seen[name] for name in ("planted", "t", "eps"))
        noisy = len(t)  # the others are shown no noise, and no image
        x_t, wanted = torch.zeros_like(target), -self.noise[-1] * target
        x_t[:noisy] = self.signal[t] * target[:noisy] + self.noise[t] * eps
        wanted[:noisy] = self.signal[t] * eps - self.noise[t] * target[:noisy]
        features: list[Tensor] = []
        if pixels:
            features, first, second = self._encoded(self.seen["images"])
            x_t = torch.cat([x_t, torch.zeros_like(first)])
            primary, secondary = torch.cat([primary, first]), torch.cat([secondary, second])
            planted = torch.cat([planted, self.seen["images_planted"]])
        times = torch.full((len(x_t),), TIMESTEPS - 1, device=self.device)
        times[:noisy] = t
        between = self.model.unet.encode(x_t, times, primary, secondary)
        uni = self.model.unet.decode_uni(between).float()
        multi = self.model.unet.decode_multi(between).float()
        confidence = between.confidence.float().clamp(TINY, 1 - TINY)
        with torch.autocast(self.device.type, enabled=False):
            misleads = shares_of_cells(planted, confidence)
            agrees = (misleads < MISLEADS).float()
            counts = F.interpolate(agrees, x_t.shape[2:])
            gate = F.binary_cross_entropy(confidence, 1 - misleads[:, 0])
            of = slice(0, len(wanted))
            off = (multi[of] - wanted).square() * counts[of]
            velocity = ((uni[of] - wanted).square().mean() + off.mean()) / 2
            loss: Tensor = velocity + GATE_WEIGHT * gate
        self.losses["velocity"].copy_(velocity.detach())
        self.losses["gate"].copy_(gate.detach())
        if pixels:
            of = slice(len(wanted), None)
            chosen = counts[of] * multi[of] + (1 - counts[of]) * uni[of]
            loss = loss + self._pixel_loss(features, -self.noise[-1] * chosen, agrees[of])
        return loss

    @torch.no_grad()
    def _encoded(self, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        first, features = self.model.encode_primary(images[:, :1])
        return features, first.float(), self.model.encode(images[:, 1:2], "secondary").float()

    def _pixel_loss(self, features: list[Tensor], latents: Tensor, agrees: Tensor) -> Tensor:
        """Return the errors of drawn expected maps, and of some targets' own latents drawn."""
        images = self.seen["images"]
        count, own = len(images), max(1, len(images) // REPRODUCED_SHARE)
        target = images[:, 2:]
        with torch.no_grad():
            known = self.model.encode(target[:own], "target").float()
        shown = F.interpolate(agrees, images.shape[2:]) > 0
        other = torch.where(shown, images[:, 1:2], BACKGROUND)
        made = self.model.decode(
            torch.cat([latents, known]),
            primary=[torch.cat([each, each[:own]]) for each in features],
            secondary=torch.cat([other, other[:own]]),
        ).float()
        with torch.autocast(self.device.type, enabled=False):
            drawn = pixel_error(made[:count], target)
            reproduced = pixel_error(made[count:], target[:own])
            loss: Tensor = PIXEL_WEIGHT * drawn + REPRODUCED_WEIGHT * reproduced
        self.losses["map"].copy_(drawn.detach())
        self.losses["own"].copy_(reproduced.detach())
        return loss


def shares(misleads: Tensor, factor: int) -> Tensor:
    """Return which share of each latent pixel misleads (n, h/factor, w/factor), of (n, h, w)."""
    return F.avg_pool2d(misleads[:, None], factor)[:, 0]


def shares_of_cells(planted: Tensor, confidence: Tensor) -> Tensor:
    """Return which share of each of the gate's cells misleads (n, 1, h, w)."""
    return F.adaptive_avg_pool2d(planted[:, None], confidence.shape[1:])


def half(device: torch.device) -> Any:
    """Return bfloat16 where it gains."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def recorded(work: Callable[[], None], device: torch.device) -> Callable[[], object]:
    """Record work as a CUDA graph, after some rounds as it is; on a CPU it is done as it is."""
    return CudaRecorder(WARM_UP_ROUNDS)(work) if device.type == "cuda" else work
