"""Nanoparticle distribution in tumour sections, predicted by DAMM-Diffusion, in napari.

The public functions live in `napari_damm.api` and are fetched when first asked for, so that
`import napari_damm` (which napari does at start-up) costs nothing: no torch, no Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_damm.util.moved import find_moved_modules
from napari_damm.util.version import __version__

if TYPE_CHECKING:
    from napari_damm.api import (
        AnalyzeConfig,
        BatchSection,
        EvaluateConfig,
        FolderSource,
        MapLayers,
        MapSource,
        PredictConfig,
        SectionSource,
        SimulatedSource,
        SlideSource,
        TrainConfig,
        analyze,
        calibrate,
        evaluate,
        find_sections,
        fine_tune,
        import_authors_checkpoint,
        load_model,
        open_result,
        open_slide,
        plan,
        predict,
        predict_batch,
        prediction_interval,
        simulate_slide,
    )

__all__ = [
    "AnalyzeConfig",
    "BatchSection",
    "EvaluateConfig",
    "FolderSource",
    "MapLayers",
    "MapSource",
    "PredictConfig",
    "SectionSource",
    "SimulatedSource",
    "SlideSource",
    "TrainConfig",
    "__version__",
    "analyze",
    "calibrate",
    "evaluate",
    "find_sections",
    "fine_tune",
    "import_authors_checkpoint",
    "load_model",
    "open_result",
    "open_slide",
    "plan",
    "predict",
    "predict_batch",
    "prediction_interval",
    "simulate_slide",
]

find_moved_modules()


def __getattr__(name: str) -> Any:
    """Fetch a public name from `napari_damm.api` on first use."""
    if name in __all__:
        return getattr(import_module("napari_damm.api"), name)
    raise AttributeError(f"module 'napari_damm' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, fetched or not."""
    return sorted({*globals(), *__all__})
