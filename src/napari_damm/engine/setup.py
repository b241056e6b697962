"""How the windows of a job are sampled: plain values, resolved before any network is touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_damm.engine.config import EXPECTED, FAST, FULL, STEPS, PredictConfig

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

REFERENCE = "reference"


@dataclass(frozen=True)
class Sampling:
    """How windows are sampled; `mode` "reference" is the authors' sampler (DDIM, eta 1).

    Mode "expected" is one step of one draw, or of one of each of `views` turned copies; of its
    `samples` only the spread is shown.
    """

    mode: str
    steps: int
    seed: int
    gamma: float
    batch_size: int
    samples: int = 1
    spread_factor: float = 1.0
    views: int = 1
    expected_from: str = "noise"
    precision: str = FULL
    compiled: bool = False

    @classmethod
    def of(cls, config: PredictConfig, model: DAMM, batch_size: int) -> Sampling:
        """Return how a model samples as a config says."""
        from napari_damm.model_file import spread_factor

        mode, steps = config.sampler_for(model.config.unet.predicts)
        return cls(
            mode,
            steps,
            config.seed,
            config.gamma,
            batch_size,
            config.samples,
            spread_factor(model.card),
            config.views if mode == EXPECTED else 1,
            model.config.expected_from,
            config.precision,
            config.compiled,
        )

    @property
    def window_steps(self) -> int:
        """Denoising steps of one window, all its samples together."""
        beside = self.beside
        own = len(self.timesteps()) * (self.views if self.mode == EXPECTED else self.samples)
        return own if beside is None else own + beside.window_steps

    @property
    def half(self) -> bool:
        """Whether decoders compute in bfloat16."""
        return self.precision != FULL

    @property
    def start(self) -> str:
        """What the walk starts from: "noise", or, of an expected map that was learnt so, "zero"."""
        return self.expected_from if self.mode == EXPECTED else "noise"

    @property
    def images(self) -> int:
        """How often a window is decoded."""
        return self.samples + self.views if self.beside else max(self.samples, self.views)

    @property
    def beside(self) -> Sampling | None:
        """How the samples are drawn whose spread is shown beside an expected map, if any are."""
        if self.mode != EXPECTED or self.samples == 1:
            return None
        return replace(self, mode=FAST, steps=STEPS[FAST], views=1)

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
