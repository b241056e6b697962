"""What the benchmarks share: sections as slides, windows without the engine, the machine's name.

1. `evaluation_section` simulates a section whose seed no training uses, and opens it as a slide.
2. `cut_windows` reads the windows of a plan, as the engine's reader does.
3. `sample_windows` samples them on lanes of one torch thread each, as the engine's lanes do, and
   returns every window before it is blended.
4. `load_model` knows the bundled model, files, and random weights of the paper's sizes.
5. `FastWindows` is the fast sampler as a plain function of images, for whoever cuts on their own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.simulate import EVALUATION_SEEDS_FROM, SimulatedSlide, simulate_slide
from napari_damm.slide import Slide, normalise, read_region, slide_from_arrays
from napari_damm.util.tiling import Box, Window

if TYPE_CHECKING:
    from torch import Tensor

    from napari_damm.engine.planning import Plan
    from napari_damm.engine.sampler import WindowSampler
    from napari_damm.engine.windows import WindowInput, WindowOutput
    from napari_damm.model.damm import DAMM


def evaluation_section(size: int, seed: int, preset: str) -> tuple[SimulatedSlide, Slide]:
    """Simulate a section of `size` px and open it.

    Raises
    ------
    ValueError
        If the seed is one that training may use.
    """
    if seed < EVALUATION_SEEDS_FROM:
        raise ValueError(f"seed must be {EVALUATION_SEEDS_FROM} or more, got {seed}")
    section = simulate_slide(size, seed, preset)
    images = {"vessels": section.vessels, "nuclei": section.nuclei}
    return section, slide_from_arrays(images, pixel_size_um=section.pixel_size_um)


def cut_windows(slide: Slide, planned: Plan) -> list[WindowInput]:
    """Read all windows that the plan runs, normalised."""
    from napari_damm.engine.windows import WindowInput

    limits = planned.normalisation
    roles = (slide.vessels, limits.vessels), (slide.nuclei, limits.nuclei)
    inputs = []
    for window in planned.windows:
        box = planned.lattice.window_box(*window)
        vessels, nuclei = (
            normalise(
                read_region(raster, box, planned.model_um, slide.origin, planned.lattice.shape),
                *between,
            )
            for raster, between in roles
        )
        inputs.append(WindowInput(window, (box.y0, box.x0), vessels, nuclei))
    return inputs


def sample_windows(
    sampler: WindowSampler, inputs: Sequence[WindowInput], lanes: int
) -> dict[Window, WindowOutput]:
    """Sample every window, on so many lanes."""
    import torch

    size = 2 * sampler.sampling.batch_size
    pools = [inputs[start : start + size] for start in range(0, len(inputs), size)]

    def run(pool: Sequence[WindowInput]) -> list[WindowOutput]:
        if sampler.device == "cpu":
            torch.set_num_threads(1)
        *_, outputs = sampler.run(pool)
        assert isinstance(outputs, list)
        return outputs

    with ThreadPoolExecutor(lanes) as threads:
        return {out.window: out for pool in threads.map(run, pools) for out in pool}


def load_model(name: str) -> tuple[DAMM, float]:
    """Return the model and the gate's threshold."""
    import torch

    from napari_damm import api
    from napari_damm.model.damm import DAMM, DAMMConfig
    from napari_damm.model.gate import GAMMA

    if name != "paper":
        return api.load_model(None if name == "bundled" else name, "cpu"), GAMMA
    torch.manual_seed(0)
    model = DAMM(DAMMConfig.paper(), {"name": "random", "sha256": "random weights"}).eval()
    for parameter in model.parameters():
        if not parameter.any():
            # what starts at zero is not zero once trained: nothing may be skipped
            torch.nn.init.normal_(parameter, std=0.02)
    return model.requires_grad_(False), 0.0


def whole_images(slide: Slide, model: DAMM) -> tuple[np.ndarray, np.ndarray]:
    """Return vessels and nuclei of the whole slide, normalised."""
    from napari_damm.engine.planning import plan

    planned = plan(slide, model.card)
    shape, limits = planned.lattice.shape, planned.normalisation
    vessels, nuclei = (
        normalise(
            read_region(raster, Box(0, 0, *shape), planned.model_um, slide.origin, shape), *between
        )
        for raster, between in ((slide.vessels, limits.vessels), (slide.nuclei, limits.nuclei))
    )
    return vessels, nuclei


class FastWindows:
    """The fast sampler as a plain function of windows; counts them and their branches."""

    def __init__(self, model: DAMM, gamma: float) -> None:
        self.model, self.gamma = model, gamma
        self.multi: list[bool] = []

    def shown(self, images: Tensor, role: str) -> Tensor:
        """Return images (b, 1, h, w) with the channels that an encoder takes."""
        channels = self.model.first_stage(role).config.image_channels
        return images.expand(-1, channels, -1, -1)

    def drawn(
        self, x_0: Tensor, features: list[Tensor], secondary: Tensor, multi: Tensor
    ) -> Tensor:
        """Draw clean latents as a prediction does: with all that helps to; (b, 1, h, w)."""
        from napari_damm.model.gate import where_multi

        other = where_multi(secondary, multi) if features else None
        image = self.model.decode(x_0, primary=features, secondary=other)
        return (image.mean(dim=1, keepdim=True) + 1) / 2

    def __call__(self, images: Tensor) -> Tensor:
        """Vessels and nuclei (b, 2, h, w) -> NP (b, 1, h, w)."""
        import torch

        from napari_damm.engine.config import STEPS
        from napari_damm.sampling import sample_dpm_solver
        from napari_damm.schedule import NoiseSchedule

        with torch.inference_mode():
            primary, features = self.model.encode_primary(self.shown(images[:, :1], "primary"))
            nuclei = self.shown(images[:, 1:], "secondary")
            secondary = self.model.encode(nuclei, "secondary")

            def denoise(x_t: Tensor, t: Tensor) -> Tensor:
                gated = self.model.gated_noise(x_t, t, primary, secondary, self.gamma)
                self.last = gated.multi
                return gated.eps

            steps = STEPS["fast"]
            x_0 = sample_dpm_solver(denoise, torch.randn_like(primary), NoiseSchedule(), steps)
            self.multi += (self.last.flatten(1).float().mean(dim=1) >= 0.5).tolist()
            return self.drawn(x_0, features, nuclei, self.last)


def machine() -> str:
    """Name this machine: processor, cores, memory."""
    import psutil

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
