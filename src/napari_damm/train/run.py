"""`fine_tune`: from the settings to the model, as a generator of events.

1. Settings, folder, sections and base model are checked: what is wrong ends here, and leaves
   nothing behind.
2. The sections are measured and split; then the folder is made and locked.
3. Autoencoders come first (start.py), then the noise estimator (loop.py).
4. Closing the generator stops at a step's end: the state is saved, and the best model so far is
   in the folder. `resume` goes on from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_damm.dataset.sources import Source, source_from_dict, source_to_dict
from napari_damm.events import Event, Finished, Notice
from napari_damm.model.damm import DAMM
from napari_damm.model_file import read_card
from napari_damm.train.autoencoder import load_lpips
from napari_damm.train.checkpointing import TrainerState
from napari_damm.train.config import TrainConfig
from napari_damm.train.fabric import Machine, started_by_fabric
from napari_damm.train.known_images import known_images
from napari_damm.train.mistaken_images import told_of_mistakes
from napari_damm.train.run_folder import (
    LAST,
    STATE_FILE,
    RunFolder,
    TrainedModel,
    TrainingState,
    begun_training,
    check_checkpoint,
    check_new,
    check_same,
    check_same_base,
    check_same_settings,
    default_folder,
)
from napari_damm.train.setup import describe, find_base, measure, open_data, settle_pixel_size
from napari_damm.train.start import TrainingStart
from napari_damm.train.state import check_state
from napari_damm.util.advice import Advice


def fine_tune(
    data: Source | Sequence[Source] | None = None,
    model: DAMM | str | Path | None = None,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Train a model on sections; see `api.fine_tune`."""
    start = time.monotonic()
    folder = Path(out) if out is not None else default_folder((config or TrainConfig()).name)
    if resume:
        begun = begun_training(folder)
        asked = (config or begun.config).name
        # the model goes where it was begun, whatever is said now
        config = replace(config or begun.config, name=begun.name)
        check_same_settings(begun, config)
        yield from _said_of_name(asked, begun.name)
        if _nothing_more(begun, config):
            yield from _as_it_finished(begun, model, config)
            return
        check_checkpoint(begun)
        if (last := folder / LAST).exists():
            TrainerState.read(last)
            check_state(last)
        data, model = _as_begun(begun.record, data, model, folder)
    else:
        config = config or TrainConfig()
        if not started_by_fabric():
            check_new(folder)
    if data is None:
        raise ValueError("there is nothing to train on: give a slide, a folder or layers")
    sections = open_data(data)
    base = find_base(model, config)
    settle_pixel_size(base, sections, config)
    if config.lpips:
        load_lpips(1, torch.device("cpu"))  # says now, not after the measuring, what is missing
    machine = Machine(config)
    measured = yield from measure(sections, base, config)
    record = describe(base, measured, config, machine.kind)
    if resume:
        check_same(folder, record)
    else:
        yield from told_of_mistakes(sections, base.model.card)
    sources = data if isinstance(data, Sequence) else (data,)
    record["sources"] = [source_to_dict(source) for source in sources]
    record["base_file"] = base.model.file
    record["trust"] = known_images(measured, base.model.card)
    new = not folder.exists()
    with closing(RunFolder(folder, lock=machine.first)) as run:
        with _nothing_left(run, new and machine.first):
            training = TrainingStart(run, base, measured, config, machine, record)
        with closing(_to_the_end(training)) as events:
            for event in events:
                if machine.first:
                    yield event
        machine.agree(True)
        result, failed = training.parts.checkpoints.result(), training.parts.unreadable.messages
        yield Finished(result, time.monotonic() - start, failed)


def _to_the_end(training: TrainingStart) -> Generator[Event, None, None]:
    loop = yield from training.events()
    yield from loop.events()


@contextmanager
def _nothing_left(run: RunFolder, new: bool) -> Iterator[None]:
    """Remove a new folder again where the training cannot even begin."""
    try:
        yield
    except BaseException:
        run.close()
        if new:
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _nothing_more(begun: TrainingState, now: TrainConfig) -> bool:
    """Tell whether a training has finished and has nothing more to do."""
    before, lengths = begun.config, ("epochs", "minutes", "patience")
    same = all(getattr(before, name) == getattr(now, name) for name in lengths)
    return begun.finished and begun.model is not None and same


def _as_it_finished(
    begun: TrainingState, model: DAMM | str | Path | None, config: TrainConfig
) -> Iterator[Event]:
    """Say that a training has finished, and what it ended with."""
    assert begun.model is not None  # since _nothing_more
    if model is not None:
        check_same_base(begun, find_base(model, config).sha256)
    done = f"{begun.folder} is finished, {begun.model.name} is there"
    yield Notice(Advice(done, "to go on from it, give more {epochs} or {minutes}"))
    card = read_card(begun.model)
    trained = TrainedModel(
        begun.model, begun.name, card, begun.scores, begun.base_scores, begun.folder
    )
    yield Finished(trained, 0.0)


def _said_of_name(asked: str, begun: str) -> Iterator[Notice]:
    if asked not in (begun, TrainConfig().name):
        yield Notice(
            f"the model goes on being called {begun!r}, as the training was begun, and not "
            f"{asked!r}: a copy of its file can have another name",
            "warning",
        )


def _as_begun(
    record: Mapping[str, Any], data: Any, model: DAMM | str | Path | None, folder: Path
) -> tuple[Any, DAMM | str | Path | None]:
    """Fill in what was not said again: the data and the base model of the begun training.

    Raises
    ------
    ValueError
        If the data were images at hand, which cannot be found again.
    """
    if data is None:
        kept = record.get("sources") or [None]
        if any(source is None for source in kept):
            raise ValueError("this training was begun on open images: give them again to resume it")
        try:
            data = [source_from_dict(source) for source in kept]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / STATE_FILE} names no data: {error}") from None
    if model is None and record["base"] is not None:
        file = record.get("base_file")
        if file is None:
            raise ValueError(
                f"this training was begun from a model {record['base']!r} that is in no file: give "
                "it again to resume it"
            )
        model = file if Path(file).is_file() else record["base"]
    return data, model
