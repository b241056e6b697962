"""A prepared prediction: everything resolved and checked, and the store open.

1. Resolve the device, the plan, the sampler and the record.
2. Resume: a store that is there must be of the same job; what it holds is left out of the plan.
3. Say what it will cost; refuse what cannot fit.
4. Create the store: the last thing that can fail. Bad input leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.engine.config import PredictConfig, default_batch, default_samplers
from napari_damm.engine.cost import Cost, expected_cost, refuse_what_cannot_fit, statement
from napari_damm.engine.device_memory import begun_on_a_card, fitting_batch
from napari_damm.engine.intervals import intervals_of
from napari_damm.engine.live_preview import LivePreview
from napari_damm.engine.planning import Plan, plan
from napari_damm.engine.provenance import differences, doubts, job_record, now
from napari_damm.engine.setup import Sampling, Setup
from napari_damm.engine.trusted import trust_after, trust_before, trust_notices
from napari_damm.events import Branch, Event, Notice, Planned
from napari_damm.slide import Normalisation, Slide, check_finite
from napari_damm.store import Result, ResultStore, ShardStatus, open_result
from napari_damm.util.advice import Advice
from napari_damm.util.errors import is_out_of_memory, one_line
from napari_damm.util.given import shown
from napari_damm.util.tiling import Box

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

FAR = 2**40
WORTH_TIMING = 64
"""Jobs of fewer windows are over before an estimate is of use."""


@dataclass(frozen=True)
class Job:
    """All that a run needs. `plan` is what is left to do."""

    slide: Slide
    model: DAMM
    config: PredictConfig
    plan: Plan
    setup: Setup
    cost: Cost
    store: ResultStore
    notices: tuple[Notice, ...]

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run has finished it, and all is still there."""
        return not self.plan.shards and bool(self.store.record.get("finished"))

    def announce(self) -> Iterator[Event]:
        """Yield the notices and `Planned`."""
        yield from self.notices
        left = self.plan
        yield Planned(
            shape=left.layout.shape,
            pixel_size_um=left.model_um,
            origin=left.layout.origin,
            windows=left.all_windows,
            background_windows=left.background_windows,
            shards=left.all_shards,
            steps=self.setup.sampling.window_steps,
            record=self.store.record,
            preview=LivePreview(self.store),
            windows_done=left.windows_done,
            shards_done=left.shards_done,
            seconds=self.cost.seconds,
            memory_bytes=self.cost.memory_bytes,
            disk_bytes=self.cost.disk_bytes,
        )

    def multi_modal_windows(self) -> tuple[int, int]:
        """Count the windows that took the multi-modal branch in most cells, and all with cells."""
        lattice, region = self.plan.lattice, self.plan.region
        first = region.cells()
        windows = lattice.windows_touching(region)
        (i0, j0), (i1, j1) = windows[0], windows[-1]
        # rows of cells are owned by rows of windows
        tall, wide = _all_columns(first), _all_rows(first)
        rows = [lattice.owned_cells(i, j0).intersect(tall) for i in range(i0, i1 + 1)]
        cols = [lattice.owned_cells(i0, j).intersect(wide) for j in range(j0, j1 + 1)]
        y = [box.y0 - first.y0 for box in rows if not box.empty]
        x = [box.x0 - first.x0 for box in cols if not box.empty]
        branch = np.asarray(self.store.arrays.branch[:])
        multi, cells = (  # of a region, a window may own none
            np.add.reduceat(np.add.reduceat(each.astype(np.int64), y, axis=0), x, axis=1)
            for each in (branch == Branch.MULTI_MODAL, branch != Branch.NOT_PREDICTED)
        )
        return int(((2 * multi >= cells) & (cells > 0)).sum()), int((cells > 0).sum())


def _all_columns(box: Box) -> Box:
    return Box(box.y0, 0, box.y1, FAR)


def _all_rows(box: Box) -> Box:
    return Box(0, box.x0, FAR, box.x1)


def survey(
    slide: Slide, model: DAMM, config: PredictConfig, remote: bool = False
) -> tuple[Plan, Setup]:
    """Plan a prediction and resolve how it is computed.

    Parameters
    ----------
    remote
        Whether it is computed elsewhere, on devices that need not be in this machine.

    Raises
    ------
    ValueError, OSError
        For bad input.
    """
    from napari_damm.model_file import resolve_device

    if not isinstance(slide, Slide):
        raise ValueError(f"a slide is predicted, got {shown(slide)}: open it with open_slide")
    elsewhere = remote and config.device != "auto"
    device = config.device if elsewhere else resolve_device(config.device).type
    config.check_device(device)
    check_finite(slide)
    planned = plan(slide, model.card, config)
    if planned.lattice.window % model.config.token_px:
        multiple = f"a multiple of {model.config.token_px} px"
        raise ValueError(f"the model needs windows of {multiple}, got {planned.lattice.window}")
    once = config.sampler_for(model.config.unet.predicts)[1] * config.samples == 1
    parameters = sum(weight.numel() for weight in model.unet.parameters())
    batch = default_batch(device, parameters, once)
    if device == "cuda" and not elsewhere:
        batch = fitting_batch(batch, model, planned.lattice.window, config.workers)
    sampling = Sampling.of(config, model, config.batch_size or batch)
    samplers = config.lanes or (1 if remote else default_samplers(device, config.workers))
    return planned, Setup(sampling, device, samplers)


@dataclass(frozen=True)
class Surveyed:
    """A job as it would be run; `earlier` is what a run before has stored of it."""

    plan: Plan
    setup: Setup
    record: dict[str, Any]
    earlier: Result | None
    notices: tuple[Notice, ...]

    @property
    def left(self) -> Plan:
        """What is left to do, if what is stored is whole."""
        return self.plan if self.earlier is None else self.plan.without(self.earlier.settled())


def survey_to_resume(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    store: str | Path | None,
    resume: bool,
    remote: bool = False,
) -> Surveyed:
    """Plan a prediction, with the settings of what is stored where that is to be continued.

    Raises
    ------
    ValueError, OSError
        For bad input, and a store of another job.
    """
    earlier = open_result(store) if resume and store is not None and Path(store).exists() else None
    if earlier is not None:
        # Measured once per job: parts that can be read today may not have been, then.
        stored = _stored_normalisation(earlier)
        config = replace(
            config,
            shard=earlier.layout.shard,
            normalisation=config.normalisation or stored,
            # what a card had memory for then it need not have now
            batch_size=config.batch_size or begun_on_a_card(earlier.record),
        )
    planned, setup = survey(slide, model, config, remote)
    if earlier is not None:
        # A result that was begun without these maps goes on without them.
        begun = earlier.layout
        if begun.with_familiarity and not planned.layout.with_familiarity:
            raise ValueError(
                f"{store} was begun by an earlier version, whose familiarity cannot be gone on "
                "with: begin it anew"
            )
        layout = replace(
            planned.layout, with_familiarity=begun.with_familiarity, samples=begun.samples
        )
        planned = replace(planned, layout=layout)
    record = job_record(slide, model, config, planned, setup.sampling, setup.device)
    notices: list[Notice] = []
    if earlier is not None and store is not None:
        notices = _check_same_job(store, earlier.record, record)
    return Surveyed(planned, setup, record, earlier, tuple(notices))


def estimate(
    planned: Plan,
    model: DAMM,
    setup: Setup,
    workers: int,
    store: str | Path | None,
    remote: bool = False,
) -> Cost:
    """Estimate a plan's cost, with a timed window where that is worth while and possible."""
    timed = not remote and len(planned.windows) >= WORTH_TIMING
    per_window = None
    if timed:
        from napari_damm.engine.timing import window_seconds

        try:
            per_window = window_seconds(model, setup, planned.lattice.window)
        except Exception as error:
            # the job itself goes on with smaller batches
            if not is_out_of_memory(error):
                raise
    return expected_cost(planned, model, setup, workers, store is not None, per_window)


def prepare(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    store: str | Path | None,
    resume: bool = False,
    remote: bool = False,
) -> Job:
    """Resolve and check everything, and create or reopen the store.

    Raises
    ------
    ValueError, OSError
        For bad input, a store of another job, one in use, or a result that cannot fit.
    """
    surveyed = survey_to_resume(slide, model, config, store, resume, remote)
    planned, setup, record = surveyed.plan, surveyed.setup, surveyed.record
    notices = [*_model_notices(model, slide, config), *surveyed.notices]
    if surveyed.earlier is None:
        expected = record["mode"] == "expected" and record["samples"] == 1
        known = intervals_of(model, expected, record["samples"] > 1)
        trust, planned = trust_before(slide, model, planned)
        record = {**record, "trust": trust, **known}
        notices += trust_notices(record["trust"])
    opened: ResultStore | None = None
    if surveyed.earlier is not None and store is not None:
        opened = ResultStore.reopen(store)
    try:
        if opened is not None:
            planned = planned.without(opened.settled())
        cost = estimate(planned, model, setup, config.workers, store, remote)
        may_not_fit = refuse_what_cannot_fit(planned, cost, store, remote)
        if opened is None:
            opened = ResultStore.create(store, planned.layout, record)
        elif planned.shards:
            again = {"resumed": [*opened.record.get("resumed", []), now()], "finished": None}
            opened.update_record(again)
    except BaseException:
        if opened is not None:
            opened.close()
        raise
    if may_not_fit:
        notices.append(Notice(may_not_fit, "warning"))
    if cost.seconds is not None or planned.shards_done:
        notices.append(Notice(statement(planned, cost)))
    return Job(slide, model, config, planned, setup, cost, opened, tuple(notices))


def _stored_normalisation(earlier: Result) -> Normalisation:
    """Return what was measured when a job began."""
    try:
        limits = earlier.record["normalisation"]
        (v_low, v_high), (n_low, n_high) = limits["vessels"], limits["nuclei"]
        return Normalisation((v_low, v_high), (n_low, n_high))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{earlier.path} is damaged (the normalisation in its record: {one_line(error)}): "
            "predict it again"
        ) from None


def mark_background(job: Job) -> tuple[Plan, list[tuple[int, int]]]:
    """Store at once all shards without windows; return the plan of the others, and which."""
    empty = [(s.row, s.col) for s in job.plan.shards if not s.windows]
    if empty:
        job.store.mark_many(empty, ShardStatus.BACKGROUND)
    return job.plan.without(set(empty)), empty


def summary(
    job: Job, seconds: float, failed: list[str], missing: int, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the record gains at the end of a run; `missing` windows are not predicted."""
    multi_modal, with_cells = job.multi_modal_windows()
    return {
        "finished": now(),
        "seconds": round(seconds + job.store.record.get("seconds", 0.0), 3),
        "windows": job.plan.all_windows - missing,
        "background_windows": job.plan.background_windows,
        "multi_modal_windows": multi_modal,
        "windows_with_cells": with_cells,
        "failed": failed,
        **trust_after(job.store),
        **extra,
    }


def _model_notices(model: DAMM, slide: Slide, config: PredictConfig) -> Iterator[Notice]:
    mode, steps = config.sampler_for(model.config.unet.predicts)
    if mode != config.mode:
        yield Notice(
            Advice(
                "the model cannot give the expected map in one evaluation, as it predicts noise: "
                f"it draws a plausible one instead (mode {mode}, {steps} steps)",
                "for the mean of several, set {samples} to 8",
            )
        )
    if slide.doubt:
        yield Notice(slide.doubt, "warning")
    if not model.card.get("pixel_size_um"):
        yield Notice(
            "the model states no pixel size: the slide is used at its own "
            f"{slide.pixel_size_um:g} um per pixel",
            "warning",
        )


def _check_same_job(
    store: str | Path, stored: Mapping[str, Any], record: Mapping[str, Any]
) -> list[Notice]:
    different = differences(stored, record)
    if different:
        raise ValueError(
            Advice(
                f"{store} belongs to another job ({'; '.join(different[:3])})",
                "give the same input and settings to continue it, or choose another {store}",
            )
        )
    return [Notice(text, "warning") for text in doubts(stored, record)]
