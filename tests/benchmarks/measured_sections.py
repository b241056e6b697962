"""Simulated sections that are predicted, and measured as predicted and as they truly are.

True particles are noise-free, in the intensities that a model learns (0.1 and 99.9 percentiles of
the image as taken are 0 and 1) by one least-squares affine fit to that image. Both maps are
measured by the same vessels, each with its own threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import dask.array as da
import numpy as np
from section_metrics import affine_fit

from napari_damm import api
from napari_damm.analysis.report import AnalysisReport
from napari_damm.analysis.sources import sample_rasters, slide_map
from napari_damm.simulate import SimulatedSlide
from napari_damm.slide import Raster, slide_from_arrays
from napari_damm.slide.planes import ArraySource, LazyPlane
from napari_damm.store import Result

PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class MeasuredSection:
    """A section, its result, the true map (y, x) on the result's grid, and both reports."""

    drawn: SimulatedSlide
    result: Result
    truth: np.ndarray
    predicted: AnalysisReport
    true: AnalysisReport


def predict_section(
    drawn: SimulatedSlide, model: object, config: api.PredictConfig | None = None
) -> tuple[Result, np.ndarray]:
    """Return the result of a section, and the true map."""
    images = {"vessels": drawn.vessels, "nuclei": drawn.nuclei}
    slide = slide_from_arrays(images, drawn.pixel_size_um)
    *_, finished = api.predict(slide, model, config or api.PredictConfig())
    return finished.result, true_map(drawn)


def true_map(drawn: SimulatedSlide) -> np.ndarray:
    """Return the true particles (y, x) of a section in the intensities that a model learns."""
    low, high = np.percentile(drawn.nanoparticles, PERCENTILES)
    taken = np.clip((drawn.nanoparticles - low) / max(high - low, 1e-9), 0, 1)
    slope, offset = affine_fit(taken, drawn.nanoparticles_true)
    truth: np.ndarray = (slope * drawn.nanoparticles_true + offset).astype(np.float32)
    return truth


def measure_section(
    drawn: SimulatedSlide, model: object, config: api.PredictConfig | None = None
) -> MeasuredSection:
    """Predict a section, and measure both maps."""
    result, truth = predict_section(drawn, model, config)
    slide = slide_from_arrays(drawn.channels(), drawn.pixel_size_um)
    reports = []
    given = {"predicted": (result.np, result.record), "true": (da.from_array(truth), {})}
    for name, (values, record) in given.items():
        plane = LazyPlane(ArraySource(values))
        raster = Raster(name, (plane,), result.pixel_size_um, result.origin)
        samples = sample_rasters(result) if name == "predicted" else ()
        section = slide_map(slide, raster, name=name, record=record, samples=samples)
        *_, done = api.analyze(api.MapLayers(section))
        reports.append(done.result)
    return MeasuredSection(drawn, result, truth, *reports)
