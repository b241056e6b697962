"""How much of everything a training of the bundled model has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Defaults are those that the bundled model was made with.

    Parameters
    ----------
    minutes
        Of all pieces together.
    device, seed
        What computes; key of all that is random.
    processes
        That draw sections; as many as there are cores but one.
    batch, windows
        Latents of a step; windows whose maps a step draws.
    bank, renewed
        Latents that are kept, and how many of them a step renews.
    sections, first
        Sections that are kept, and how many are waited for before the first step.
    latents_share
        Share of the time in which latents alone are learnt from.
    """

    minutes: float = 6.6
    device: str = "cuda"
    seed: int = 0
    processes: int = 15
    batch: int = 128
    windows: int = 24
    bank: int = 16384
    renewed: int = 24
    sections: int = 1500
    first: int = 96
    latents_share: float = 0.55
