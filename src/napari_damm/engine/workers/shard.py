"""One shard, computed anywhere: coordinates in, status out.

1. A `TaskSpec` holds what a worker needs of a job; it is small, pictures and weights stay in files
   where they can. A process builds its model and opens the store once per job (`Worker`).
2. `Worker.compute` runs the local engine on one shard's windows, writes the shard's files and
   returns a `ShardReport`. Journal and status are the coordinator's alone.
3. `Worker.stop` ends what is being computed within a denoising step.

Neighbouring shards compute the windows on their border twice, to the same bits.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.job import Job
from napari_damm.engine.pipeline import Work
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import Downgraded, Ladder
from napari_damm.engine.setup import Setup
from napari_damm.engine.workers.coordinator import Outcome, ShardReport
from napari_damm.engine.workers.local import compute_shards
from napari_damm.events import FailedItem, Notice, Step
from napari_damm.slide import Slide
from napari_damm.store import ShardWriter
from napari_damm.util.advice import Advice

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM


@dataclass(frozen=True)
class ModelSource:
    """Where a worker gets the model: a file with a checksum, else its weights themselves."""

    path: Path | None
    sha256: str
    config: dict[str, Any]
    card: dict[str, Any]
    state: dict[str, Any] | None

    @classmethod
    def of(cls, model: DAMM) -> ModelSource:
        """Refer to a model's file where it came from one, else carry its weights."""
        card = dict(model.card)
        if model.file is not None and card.get("sha256"):
            return cls(Path(model.file), card["sha256"], {}, card, None)
        state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        return cls(None, "", model.config.to_dict(), card, state)

    def load(self) -> DAMM:
        """Load the model onto the CPU.

        Raises
        ------
        ValueError, OSError
            If the file is not there, or not the one that the job was started with.
        """
        from napari_damm.model.damm import DAMM, DAMMConfig
        from napari_damm.model_file import load_model

        if self.path is None:
            model = DAMM(DAMMConfig.from_dict(self.config), self.card)
            model.load_state_dict(self.state or {})
            return model.eval()
        model = load_model(self.path, "cpu")
        found = model.card["sha256"]
        if found != self.sha256:
            raise ValueError(
                f"{self.path} is another model on this worker ({found[:8]} instead of "
                f"{self.sha256[:8]}): install the same one everywhere"
            )
        return model


@dataclass(frozen=True)
class TaskSpec:
    """What a worker needs of a job."""

    slide: Slide
    model: ModelSource
    plan: Plan
    setup: Setup
    strict: bool
    store: Path
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def of(cls, job: Job) -> TaskSpec:
        """Take out of a job, whose store is on disk, what its workers need."""
        assert job.store.path is not None
        return cls(
            job.slide,
            ModelSource.of(job.model),
            job.plan.bare(),
            job.setup,
            job.config.strict,
            job.store.path.absolute(),
        )


class Cancelled(Exception):
    """The worker was asked to stop."""


class Worker:
    """A process's share of a job: model and store, opened once."""

    def __init__(self, spec: TaskSpec) -> None:
        from napari_damm.engine.device_sampler import sampler_of

        self._spec = spec
        self._ladder = Ladder(sampler_of(spec.model.load(), spec.setup), spec.strict)
        self._writer = ShardWriter.open(spec.store)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all computing of this job within a denoising step."""
        self._stopped.set()

    def compute(
        self, shard: Shard, stepped: Callable[[int], object] = lambda steps: None
    ) -> ShardReport:
        """Compute one shard and write its files; `stepped` hears of window-steps done.

        Raises
        ------
        Cancelled
            After `stop`.
        OSError
            Where the files cannot be written.
        """
        plan = self._spec.plan.only(shard)
        work = Work(self._spec.slide, plan, self._ladder, self._spec.setup.samplers)
        failed: list[FailedItem] = []
        downgrades: list[Downgraded] = []
        report = None
        with closing(compute_shards(work, self._writer)) as outcomes:
            for outcome in outcomes:
                if self._stopped.is_set():
                    raise Cancelled
                match outcome:
                    case Step():
                        stepped(outcome.done)
                    case FailedItem():
                        failed.append(outcome)
                    case Downgraded():
                        downgrades.append(outcome)
                    case ShardReport():
                        report = outcome
        assert report is not None
        return replace(report, failed=tuple(failed), downgrades=tuple(downgrades))


def need_disk(store: str | Path | None) -> None:
    """Refuse to compute in other processes into memory.

    Raises
    ------
    ValueError
        Without a path.
    """
    if store is None:
        raise ValueError(Advice("workers meet in a store on disk", "give {store}"))


def shards_apart(
    left: Plan, window_steps: int, reports: Iterable[ShardReport | int | Notice]
) -> Iterator[Outcome]:
    """Add the progress to the reports of shards that are each computed on their own.

    Parameters
    ----------
    left
        What is computed. Border windows are computed by each shard they touch: here they count as
        often as they are.
    window_steps
        Denoising steps of a window.
    reports
        Finished shards, and in between the window-steps done in others, and notices.
    """
    done = left.windows_done * window_steps
    total = done + left.windows_apart * window_steps
    sizes = {(shard.row, shard.col): len(shard.windows) * window_steps for shard in left.shards}
    for report in reports:
        if isinstance(report, int):
            yield Step(min(total, done + report), total)
            continue
        if isinstance(report, Notice):
            yield report
            continue
        done += sizes[report.row, report.col]
        yield Step(done, total)
        yield report
