"""Many sections one after another: one that fails does not stop the others.

1. `check` refuses places that no result can go to, and a device that none can be computed on.
2. `run` opens and predicts each section in its turn. Whatever goes wrong with one, from a damaged
   file to a full disk, is told and noted; the next one is begun.
3. The report says what became of each; why one failed is kept beside the results, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_damm.engine.failure_notes import forget_failure, note_failure
from napari_damm.events import Event, Finished, SectionDone, SectionFailed, SectionStarted
from napari_damm.util.errors import is_out_of_memory, one_line
from napari_damm.util.files import RESUME_OR_REMOVE, check_folder, check_new

if TYPE_CHECKING:
    from napari_damm.engine.batch_sections import BatchSection
    from napari_damm.engine.config import PredictConfig


@dataclass(frozen=True)
class BatchReport:
    """What became of the sections of a batch."""

    done: tuple[SectionDone, ...]
    failed: tuple[SectionFailed, ...]


def check_stores(sections: Sequence[BatchSection], resume: bool) -> None:
    """Refuse places that no result can go to.

    Raises
    ------
    ValueError, OSError
        If there is no section, one of the places is taken and nothing is resumed, or the folder
        around them cannot be made.
    """
    if not sections:
        raise ValueError("there is no section to predict: give some")
    for section in sections:
        folder = section.store.absolute().parent
        if not folder.exists():
            check_folder(folder)
        elif not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder: choose another for the results")
        elif not resume:
            check_new(section.store, RESUME_OR_REMOVE)


def check(
    sections: Sequence[BatchSection], config: PredictConfig, resume: bool, remote: bool = False
) -> None:
    """Refuse what no section could be predicted with, once and not of each.

    `remote`: devices of a cluster need not be in this machine, and are not looked at.

    Raises
    ------
    ValueError, OSError
        As `check_stores`; or if the device is not here, or a setting is of no use on it.
    """
    from napari_damm.model_file import resolve_device

    check_stores(sections, resume)
    if not remote:
        config.check_device(resolve_device(config.device).type)


def run(
    sections: Sequence[BatchSection], predict: Callable[[BatchSection], Iterator[Event]]
) -> Iterator[Event]:
    """Predict one section after the other by `predict`, and tell what happens."""
    start = time.perf_counter()
    done: list[SectionDone] = []
    failed: list[SectionFailed] = []
    for number, section in enumerate(sections, 1):
        yield SectionStarted(section.name, number, len(sections))
        outcome: SectionDone | SectionFailed
        try:
            finished = yield from _events_of(section, predict)
            outcome = SectionDone(
                section.name, finished.result, finished.seconds, tuple(finished.failed)
            )
            done.append(outcome)
            forget_failure(section.store)
        except Exception as error:  # whatever it is, the others are not to wait for it
            outcome = SectionFailed(section.name, _reason(error))
            failed.append(outcome)
            note_failure(section.store, section.name, outcome.message)
        yield outcome
    names = tuple(each.section for each in failed)
    seconds = time.perf_counter() - start
    yield Finished(BatchReport(tuple(done), tuple(failed)), seconds, names)


def _events_of(
    section: BatchSection, predict: Callable[[BatchSection], Iterator[Event]]
) -> Generator[Event, None, Finished]:
    """Pass a prediction's events on, and return its last."""
    section.store.absolute().parent.mkdir(exist_ok=True)
    events = predict(section)
    try:
        for event in events:
            if isinstance(event, Finished):
                return event
            yield event
    finally:  # the prediction ends with the batch; a plain iterator has nothing to close
        getattr(events, "close", lambda: None)()
    raise RuntimeError("the prediction ended without a result")


def _reason(error: Exception) -> str:
    if is_out_of_memory(error) and "out of memory" not in str(error):
        return "out of memory; close other programs, or choose something smaller"
    if isinstance(error, ValueError | OSError | RuntimeError | MemoryError):
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)}"
