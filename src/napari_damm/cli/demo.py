"""The demonstration: a simulated section, predicted and compared with its truth.

1. Simulate a section and write it as OME-TIFF.
2. Predict it from that file with the bundled model into an OME-Zarr store.
3. Bring truth and inputs onto the model's grid, scale them, measure, draw the figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_damm import api
from napari_damm.events import Event, Notice

if TYPE_CHECKING:
    from napari_damm.slide import Slide
    from napari_damm.store import Result

PERCENTILES = (0.1, 99.9)


@dataclass(frozen=True)
class Demo:
    """One demonstration in the new folder `out`: a section of `size` px, drawn from `seed`."""

    out: Path
    size: int
    seed: int

    @property
    def section_path(self) -> Path:
        """The simulated section."""
        return self.out / "section.ome.tif"

    @property
    def result_path(self) -> Path:
        """The prediction."""
        return self.out / "result.ome.zarr"

    @property
    def figure_path(self) -> Path:
        """The figure."""
        return self.out / "figure.png"

    def predict(self) -> Iterator[Event]:
        """Simulate the section and predict it; the events are those of `api.predict`."""
        from napari_damm.simulate import write_section

        yield Notice(f"simulating a section of {self.size} x {self.size} px, seed {self.seed}")
        section = api.simulate_slide(self.size, self.seed)
        self.out.mkdir()
        write_section(section, self.section_path)
        yield Notice("predicting its nanoparticles from vessels and nuclei")
        yield from api.predict(self._open(), None, api.PredictConfig(), store=self.result_path)

    def report(self) -> Iterator[str]:
        """Compare the stored result with the truth, draw the figure, say what was found."""
        from napari_damm.evaluation.section_figure import SectionPanels, save_figure
        from napari_damm.util import metrics

        slide, result = self._open(), api.open_result(self.result_path)
        prediction = np.asarray(result.np, dtype=np.float32)
        truth = _on_model_grid(slide, result, "nanoparticles")
        numbers = (
            f"SSIM {metrics.ssim(truth, prediction):.3f}, "
            f"PSNR {metrics.psnr(truth, prediction):.1f} dB, "
            f"r {metrics.pearson_r(truth, prediction):.3f}"
        )
        height, width = truth.shape
        save_figure(
            SectionPanels(
                vessels=_on_model_grid(slide, result, "vessels"),
                nuclei=_on_model_grid(slide, result, "nuclei"),
                truth=truth,
                prediction=prediction,
                uncertainty=np.asarray(result.uncertainty),
                branch=np.asarray(result.branch),
                extent_um=(height * result.pixel_size_um, width * result.pixel_size_um),
                cell_um=32 * result.pixel_size_um,
            ),
            self.figure_path,
            title=f"napari-damm on a simulated tissue section (seed {self.seed})",
            caption=f"{numbers}, prediction against the nanoparticle image as taken",
        )
        yield f"{numbers}"
        yield (
            "  prediction against the nanoparticle image as taken (noise and all), the image "
            f"scaled by its {PERCENTILES[0]}-{PERCENTILES[1]} percentiles to 0..1"
        )
        yield f"section  {self.section_path}"
        yield f"result   {self.result_path}"
        yield f"figure   {self.figure_path}"

    def _open(self) -> Slide:
        return api.open_slide(self.section_path, vessels_channel="vessels", nuclei_channel="nuclei")


def _on_model_grid(slide: Slide, result: Result, channel: str) -> np.ndarray:
    """Return a channel on the grid of the result, scaled by its percentiles to 0..1."""
    from napari_damm.slide import read_region
    from napari_damm.util.tiling import Box

    shape: tuple[int, int] = result.np.shape
    image = read_region(
        slide.channel(channel), Box(0, 0, *shape), result.pixel_size_um, slide.origin, shape
    )
    low, high = (float(v) for v in np.percentile(image, PERCENTILES))
    scaled: np.ndarray = np.clip((image - low) / max(high - low, 1e-9), 0.0, 1.0)
    return scaled
