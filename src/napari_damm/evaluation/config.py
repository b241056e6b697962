"""The settings of an evaluation, checked as far as that goes without data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import PredictConfig
from napari_damm.util.settings import check_settings, same_setting, setting

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM


@dataclass(frozen=True)
class EvaluateConfig:
    """How to evaluate; those settings that `PredictConfig` has as well mean the same here.

    `gamma` is that of the gated prediction. `compare` is a second model, by name, file or loaded,
    that is evaluated on the same sections.
    """

    mode: str | None = same_setting(PredictConfig, "mode")
    steps: int | None = same_setting(PredictConfig, "steps")
    seed: int = same_setting(PredictConfig, "seed")
    device: str = same_setting(PredictConfig, "device")
    gamma: float = same_setting(PredictConfig, "gamma")
    compare: DAMM | str | Path | None = setting(
        None, "A second model, on the same sections.", left_out="none"
    )
    resamples: int = setting(2000, "Draws of the bootstrap over sections.", least=1)

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        check_settings(self)

    def prediction(self, **changes: Any) -> PredictConfig:
        """Return the settings of a prediction, with some of them changed."""
        shared = ("mode", "steps", "seed", "device", "gamma")
        return PredictConfig(**{**{name: getattr(self, name) for name in shared}, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the report; `compare` is named elsewhere."""
        names = [field.name for field in fields(self) if field.name != "compare"]
        return {name: getattr(self, name) for name in names}
