"""The user's wishes for an evaluation, checked as far as that goes without data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import PredictConfig

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM


@dataclass(frozen=True)
class EvaluateConfig:
    """The user's wishes for an evaluation.

    Parameters
    ----------
    mode, steps, seed, device, gamma
        How sections are predicted, as in `PredictConfig`; `gamma` is that of the gated prediction.
    compare
        A second model, by name, file or loaded, that is evaluated on the same sections; None = no.
    resamples
        Draws of the bootstrap over sections.
    """

    mode: str = "fast"
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    gamma: float = 0.5
    compare: DAMM | str | Path | None = None
    resamples: int = 2000

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        self.prediction()
        if self.resamples < 1:
            raise ValueError(f"resamples must be 1 or more, got {self.resamples}")

    def prediction(self, **changes: Any) -> PredictConfig:
        """Return the settings of a prediction, with some of them changed."""
        shared = ("mode", "steps", "seed", "device", "gamma")
        return PredictConfig(**{**{name: getattr(self, name) for name in shared}, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the report; `compare` is told elsewhere."""
        names = [field.name for field in fields(self) if field.name != "compare"]
        return {name: getattr(self, name) for name in names}
