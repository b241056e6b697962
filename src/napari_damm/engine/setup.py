"""How the windows of a job are sampled: plain values, resolved before any network is touched."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE = "reference"


@dataclass(frozen=True)
class Sampling:
    """How windows are sampled; `mode` "reference" is the authors' sampler (DDIM, eta 1)."""

    mode: str
    steps: int
    seed: int
    gamma: float
    batch_size: int
    samples: int = 1
    spread_factor: float = 1.0

    @property
    def window_steps(self) -> int:
        """Denoising steps of one window, all its samples together."""
        return self.samples * len(self.timesteps())

    def timesteps(self) -> list[int]:
        """Return the timesteps of the sampler, descending: one network call each."""
        from napari_damm.sampling import ddim_timesteps, log_snr_timesteps
        from napari_damm.schedule import NoiseSchedule

        if self.mode == REFERENCE:
            return ddim_timesteps(self.steps)
        return log_snr_timesteps(NoiseSchedule(), self.steps)


@dataclass(frozen=True)
class Setup:
    """How windows are sampled, on what kind of device, by how many threads (of one worker)."""

    sampling: Sampling
    device: str
    samplers: int
