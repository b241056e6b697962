"""Prediction on this machine, as a generator of events.

1. `prepare` resolves everything and creates the store; bad input ends here, before any event.
2. A reader thread cuts windows out of the slide, normalised, into pools on a bounded queue.
3. Lanes (threads) sample the pools; on a CPU each has exactly one torch thread.
4. This generator keeps the finished windows that unfinished shards still need, blends a shard
   when its last window is in, and hands it to a writer thread. Every wait is bounded, so memory
   does not grow with the slide.
5. Closing the generator stops all threads within a denoising step.

The result does not depend on the order of windows, the shard size or the number of lanes: noise is
keyed by position, batches have one size, and blending goes in lattice order (design: decision 4).
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.canvas import LiveCanvas
from napari_damm.crew import Crew, Done, PoolFailed, Stepped, Written
from napari_damm.events import (
    Event,
    FailedItem,
    Finished,
    Notice,
    Planned,
    ShardDone,
    Step,
    Tile,
)
from napari_damm.plan import Plan, PredictConfig, Shard, default_batch, default_lanes, plan
from napari_damm.slide import Slide, check_finite
from napari_damm.store import ResultStore, ShardStatus
from napari_damm.tiling import Window

if TYPE_CHECKING:
    from napari_damm.lanes import WindowOutput, WindowSampler
    from napari_damm.model.damm import DAMM

__all__ = ["Plan", "PredictConfig", "plan", "predict"]


@dataclass(frozen=True)
class Job:
    """A prepared prediction: all that the run needs, checked."""

    slide: Slide
    plan: Plan
    sampler: WindowSampler
    lanes: int
    store: ResultStore
    record: Mapping[str, Any]


def predict(
    slide: Slide,
    model: DAMM,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
) -> Iterator[Event]:
    """Predict the nanoparticle map of a slide, yielding events as it goes.

    Parameters
    ----------
    slide
        Vessels and nuclei with pixel sizes.
    model
        The model; its card states the pixel size that it works at.
    config
        Wishes; all have defaults.
    store
        Folder for the result (an OME-Zarr that must not exist yet); None keeps it in memory.

    Yields
    ------
    `Planned` first (after notices), `Finished(result)` last.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event and with nothing left behind.
    """
    config = config or PredictConfig()
    job = prepare(slide, model, config, store)
    if not model.card.get("pixel_size_um"):
        yield Notice(
            "the model states no pixel size: the slide is used at its own "
            f"{slide.pixel_size_um:g} um per pixel",
            "warning",
        )
    yield Planned(
        shape=job.plan.layout.shape,
        pixel_size_um=job.plan.model_um,
        origin=job.plan.layout.origin,
        windows=len(job.plan.windows),
        background_windows=job.plan.background_windows,
        shards=len(job.plan.shards),
        steps=len(job.sampler.sampling.timesteps()),
        record=job.record,
        canvas=LiveCanvas(job.store),
    )
    yield from _run(job)


def prepare(slide: Slide, model: DAMM, config: PredictConfig, store: str | Path | None) -> Job:
    """Resolve and check everything, and create the store (the last thing that can fail)."""
    from napari_damm.lanes import Sampling, WindowSampler
    from napari_damm.model_file import resolve_device

    device = resolve_device(config.device).type
    check_finite(slide)
    planned = plan(slide, model.card, config)
    if planned.lattice.window % model.config.token_px:
        raise ValueError(
            f"the model needs windows of a multiple of {model.config.token_px} px, "
            f"got {planned.lattice.window}"
        )
    sampling = Sampling(
        config.mode,
        config.total_steps,
        config.seed,
        config.gamma,
        config.batch_size or default_batch(device),
    )
    sampler = WindowSampler(model, sampling, device)
    lanes = config.lanes or default_lanes(device)
    record = _record(slide, model, config, planned, sampler)
    created = ResultStore.create(store, planned.layout, record)
    return Job(slide, planned, sampler, lanes, created, record)


def _record(
    slide: Slide, model: DAMM, config: PredictConfig, planned: Plan, sampler: WindowSampler
) -> dict[str, Any]:
    """Return all that determines the result, and where it was made."""
    import torch

    from napari_damm import __version__

    sampling, lattice = sampler.sampling, planned.lattice
    return {
        "input": dict(slide.identity),
        "model": {
            "name": model.card.get("name", "unnamed"),
            "sha256": model.card.get("sha256") or _content_hash(model),
            "modalities": list(model.card["modalities"]),
        },
        "mode": sampling.mode,
        "steps": sampling.steps,
        "timesteps": sampling.timesteps(),
        "seed": sampling.seed,
        "gamma": sampling.gamma,
        "batch_size": sampling.batch_size,
        "roi": None if config.roi is None else list(config.roi),
        "pixel_size_um": planned.model_um,
        "slide_pixel_size_um": slide.pixel_size_um,
        "lattice": {"window": lattice.window, "stride": lattice.stride, "shape": lattice.shape},
        "normalisation": asdict(planned.normalisation),
        "device": sampler.device,
        "versions": {
            "napari-damm": __version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "finished": None,
    }


def _content_hash(model: DAMM) -> str:
    """Hash of the weights of a model that came from no file."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _run(job: Job) -> Iterator[Event]:
    """Compute all shards; yields from `Step` to `Finished`."""
    started = time.monotonic()
    progress = _Progress(job)
    with Crew(job.slide, job.plan, job.sampler, job.lanes, job.store) as crew:
        for shard in job.plan.shards:
            if not shard.windows:
                crew.mark(shard, ShardStatus.BACKGROUND)
        for message in crew:
            match message:
                case Stepped(windows):
                    yield progress.step(windows)
                case Done(outputs):
                    for output in outputs:
                        yield progress.tile(output)
                        progress.settle(output.window, crew)
                case PoolFailed(window, error):
                    yield progress.failure(window, error)
                    progress.settle(window, crew)
                case Written(row, col):
                    yield progress.written(row, col)
    seconds = time.monotonic() - started
    job.store.finish(progress.summary(seconds))
    yield Finished(job.store.result(), seconds, tuple(progress.failed))


class _Progress:
    """The windows that are in, and which shards still wait for which."""

    def __init__(self, job: Job) -> None:
        self.plan = job.plan
        self.total_steps = len(job.plan.windows) * len(job.sampler.sampling.timesteps())
        self.steps_done = 0
        self.windows_done = 0
        self.multi = 0
        self.shards_done = 0
        self.failed: list[str] = []
        self.lost: set[Window] = set()
        self.outputs: dict[Window, WindowOutput] = {}
        self.waiting = {
            (shard.row, shard.col): set(shard.windows) for shard in job.plan.shards if shard.windows
        }
        self.needed_by: dict[Window, list[Shard]] = {}
        for shard in job.plan.shards:
            for window in shard.windows:
                self.needed_by.setdefault(window, []).append(shard)

    def step(self, windows: int) -> Step:
        """Count one denoising step of so many windows."""
        self.steps_done += windows
        return Step(self.steps_done, self.total_steps)

    def tile(self, output: WindowOutput) -> Tile:
        """Take a finished window in, and say what its area looks like now."""
        self.outputs[output.window] = output
        self.windows_done += 1
        self.multi += output.multi
        lattice, region = self.plan.lattice, self.plan.region
        frame = lattice.window_box(*output.window).intersect(region)
        cells = lattice.owned_cells(*output.window).intersect(region.cells())
        first = region.cells()
        here = {output.window: output}
        return Tile(
            y=frame.y0 - region.y0,
            x=frame.x0 - region.x0,
            np=lattice.blend(frame, {w: o.np for w, o in self._near(output.window).items()}),
            cell_y=cells.y0 - first.y0,
            cell_x=cells.x0 - first.x0,
            uncertainty=lattice.gather_cells(cells, {w: o.uncertainty for w, o in here.items()}),
            branch=lattice.gather_cells(cells, _branches(here)).astype(np.uint8),
            windows_done=self.windows_done,
            windows=len(self.plan.windows),
        )

    def failure(self, window: Window, error: str) -> FailedItem:
        """Note a window that could not be computed."""
        self.lost.add(window)
        box = self.plan.lattice.window_box(*window)
        item = f"window {window} at y {box.y0}, x {box.x0}"
        self.failed.append(f"{item}: {error}")
        return FailedItem(item, error)

    def settle(self, window: Window, crew: Crew) -> None:
        """Have the shards stored whose last missing window this was."""
        for shard in self.needed_by[window]:
            missing = self.waiting[shard.row, shard.col]
            missing.discard(window)
            if not missing:
                crew.write(shard, *self._blend(shard))

    def _blend(self, shard: Shard) -> tuple[np.ndarray, np.ndarray, np.ndarray, ShardStatus]:
        """Blend a shard, and forget the windows that nothing else needs."""
        lattice = self.plan.lattice
        mine = {w: self.outputs[w] for w in shard.windows if w in self.outputs}
        image = lattice.blend(shard.region, {w: o.np for w, o in mine.items()})
        uncertainty = lattice.gather_cells(shard.cells, {w: o.uncertainty for w, o in mine.items()})
        branch = lattice.gather_cells(shard.cells, _branches(mine)).astype(np.uint8)
        del self.waiting[shard.row, shard.col]
        for window in mine:
            if not any((s.row, s.col) in self.waiting for s in self.needed_by[window]):
                del self.outputs[window]
        lost = not self.lost.isdisjoint(shard.windows)
        return image, uncertainty, branch, ShardStatus.FAILED if lost else ShardStatus.DONE

    def written(self, row: int, col: int) -> ShardDone:
        """Count a shard that is stored."""
        self.shards_done += 1
        return ShardDone(row, col, self.shards_done, len(self.plan.shards))

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return what the job record gains at the end."""
        return {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(seconds, 3),
            "windows": self.windows_done,
            "background_windows": self.plan.background_windows,
            "multi_modal_windows": self.multi,
            "failed": self.failed,
        }

    def _near(self, window: Window) -> dict[Window, WindowOutput]:
        i, j = window
        around = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        return {w: self.outputs[w] for w in around if w in self.outputs}


def _branches(outputs: Mapping[Window, WindowOutput]) -> dict[Window, np.ndarray]:
    """Branch cells: 1 uni-modal, 2 multi-modal, the same all over a window."""
    return {w: np.full(o.uncertainty.shape, 1 + o.multi, np.uint8) for w, o in outputs.items()}
