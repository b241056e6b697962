"""The training of the bundled model, in one piece or in several: how long, how fast, and how far.

Everything follows the clock: in the first part latents are learnt from, in the second pixels too.
Rates warm up, and fall along a cosine; those of what draws begin with the second part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from napari_damm.model.damm import DAMM, DAMMConfig
from napari_damm.model_file import take_trained_autoencoders
from napari_damm.schedule import TIMESTEPS
from napari_damm.slide.normalisation import PERCENTILES
from napari_damm.util.files import written_whole
from napari_damm.util.version import __version__

from .learner import Bank, Learner, shares
from .sections import SEEDS, SIZE, Sections
from .settings import Settings

RATE, PIXEL_RATE, LEAST_RATE, WARM_UP = 1e-3, 2e-3, 0.02, 200
UNI_SHARE = 0.5
"""Where the gate finds that nuclei mislead, the mean of both branches is drawn."""
AVERAGES_FROM = 300
FIRST_LATENTS = 4
"""Windows of each of the first sections that are encoded before the first step."""
STATISTICS_BATCHES = 60
COUNTS = ("step", "pixel_steps", "seconds", "sections", "pieces")
PACE, TOLD_EVERY_S, SAVED_EVERY_S = 8, 15.0, 60.0


def new_card() -> dict[str, Any]:
    """Return what is known of the model before it has learnt."""
    low, high = PERCENTILES
    shape, um = [SIZE, SIZE], 1.0
    examples = [("varied", 0), ("internal", 1), ("varied", SEEDS - 1)]
    return {
        "name": "small",
        "pixel_size_um": um,
        "licence": "BSD-3-Clause",
        "intensity_reference": {"kind": "percentile", "low": low, "high": high},
        "versions": {"napari-damm": __version__, "torch": str(torch.__version__)},
        "training_data": {
            "kind": "simulated",
            "description": f"simulated sections of {SIZE} px, no real tissue (two thirds of preset "
            f"varied, one third internal, none external; seeds 0 to {SEEDS - 1})",
            "pixel_size_um": um,
            "sections": [
                {"name": f"simulated {preset} {seed}", "kind": "simulated", "shape": shape,
                 "identity": {"kind": "simulated", "preset": preset, "seed": seed, "size": SIZE}}
                for preset, seed in examples
            ],
        },
    }  # fmt: skip


def new_model(seed: int, device: torch.device) -> DAMM:
    """Return an untrained model of our recipe, with the trained autoencoders.

    Raises
    ------
    FileNotFoundError
        If those are not there.
    """
    torch.manual_seed(seed)
    ours = DAMMConfig.of_preset("small", "ours")
    config = replace(ours, expected_from="zero", uni_share=UNI_SHARE)
    model = DAMM(config, new_card())
    if not take_trained_autoencoders(model):
        raise FileNotFoundError("the autoencoders that new models start with are not there")
    return model.to(device)


class Training:
    """A training that is kept in a file, if one is given, and goes on from there."""

    def __init__(self, settings: Settings, kept: Path | None = None) -> None:
        self.settings, self.kept = settings, kept
        self.device = torch.device(settings.device)
        self.model = new_model(settings.seed, self.device)
        self.learner = Learner(self.model, self.device)
        self.step, self.pixel_steps, self.seconds, self.sections, self.pieces = 0, 0, 0.0, 0, 0
        if kept is not None and kept.exists():
            self._go_on(torch.load(kept, weights_only=True, map_location=self.device))
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + self.pieces)

    @property
    def share(self) -> float:
        """How much of the training is over, 0..1."""
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def run(
        self, sections: Sections, until_s: float, clock: Callable[[], float] = time.monotonic
    ) -> bool:
        """Train for at most so many seconds from now; return whether the training is finished.

        Raises
        ------
        FloatingPointError
            If a loss is no number.
        """
        settings, bank = self.settings, Bank(self.model, sections, self.settings)
        self.pieces += 1
        self._save()  # a piece that is cut off counts: the next one draws other sections
        for _ in range(-(-settings.first * FIRST_LATENTS // settings.renewed)):
            bank.renew(settings.renewed, self.generator)
        start, before, step, told, saved = clock(), self.seconds, self.step, 0.0, 0.0
        while self.share < 1 and (now := clock() - start) < until_s:
            self.seconds = before + now
            sections.take()
            bank.renew(settings.renewed, self.generator)
            self._learn(bank, sections)
            if self.step % PACE == 0:
                losses = self._losses()
                if now - told > TOLD_EVERY_S:
                    told = now
                    print(f"{self.seconds:.0f} s, step {self.step}: {losses}", flush=True)
                if now - saved > SAVED_EVERY_S:
                    saved = now
                    self._save(sections.count)
        if self.step > step:
            self.sections += sections.count
        self._save()
        if self.share < 1:
            return False
        self.learner.settle(self._batches(bank, sections))
        return True

    def told(self) -> dict[str, Any]:
        """Return what the card says of it."""
        cuda = self.device.type == "cuda"
        return {
            "steps": self.step,
            "steps_with_pixels": self.pixel_steps,
            "samples": self.step * self.settings.batch,
            "sections": self.sections,
            "seconds": round(self.seconds),
            "device": torch.cuda.get_device_name() if cuda else self.device.type,
            "settings": asdict(self.settings),
        }

    def _learn(self, bank: Bank, sections: Sections) -> None:
        later = self.share - self.settings.latents_share
        pixels = later >= 0
        self._show(bank, sections, pixels)
        rate = RATE * rate_at(self.share, self.step)
        left = max(1 - self.settings.latents_share, 1e-9)
        pixel_rate = PIXEL_RATE * rate_at(later / left, self.pixel_steps) if pixels else 0.0
        self.learner.step(pixels, (rate, pixel_rate), self.step >= AVERAGES_FROM)
        self.step += 1
        self.pixel_steps += pixels

    def _show(self, bank: Bank, sections: Sections, pixels: bool) -> None:
        settings, device = self.settings, self.device
        latents, planted = bank.draw(settings.batch, self.generator)
        noisy = settings.batch // 2
        t = torch.randint(TIMESTEPS, (noisy,), generator=self.generator, device=device)
        eps = torch.randn(latents[:noisy, 0].shape, generator=self.generator, device=device)
        self.learner.show(latents=latents, planted=planted, t=t, eps=eps)
        if pixels:
            images, misleads = sections.windows(settings.windows, self.generator)
            share = shares(misleads, self.model.config.latent_factor)
            self.learner.show(images=images, images_planted=share)

    def _batches(self, bank: Bank, sections: Sections) -> Iterator[None]:
        for _ in range(STATISTICS_BATCHES):
            self._show(bank, sections, True)
            yield

    def _losses(self) -> str:
        found = {name: float(value) for name, value in self.learner.losses.items()}
        if not all(map(math.isfinite, found.values())):
            raise FloatingPointError(f"a loss is no number at step {self.step}: {found}")
        return ", ".join(f"{name} {value:.4f}" for name, value in found.items())

    def _save(self, more_sections: int = 0) -> None:
        if self.kept is None:
            return
        counts = {name: getattr(self, name) for name in COUNTS}
        counts["sections"] += more_sections
        state = {"learner": self.learner.state_dict(), "settings": asdict(self.settings)}
        with written_whole(self.kept) as stream:
            torch.save({**state, **counts}, stream)

    def _go_on(self, state: dict[str, Any]) -> None:
        then, now = (
            {**held, "processes": 0} for held in (state["settings"], asdict(self.settings))
        )
        if then != now:
            raise ValueError(f"{self.kept} is of other settings: {state['settings']}")
        self.learner.load_state_dict(state["learner"])
        for name in COUNTS:
            setattr(self, name, state[name])


def rate_at(share: float, step: int) -> float:
    """Return the share of the highest rate: it warms up, and falls along a cosine."""
    fallen = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
    return min(1.0, (step + 1) / WARM_UP) * fallen
