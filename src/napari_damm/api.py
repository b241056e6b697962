"""The public functions, for scripts, the command line and the widgets.

Heavy imports happen inside the functions: importing this module loads neither torch nor Qt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.sources import MapLayers, MapSource
from napari_damm.dataset import FolderSource, SectionSource, SimulatedSource, SlideSource
from napari_damm.engine.batch_sections import BatchSection, find_sections
from napari_damm.engine.config import PredictConfig
from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.slide import Slide, open_slide
from napari_damm.store import Result, open_result
from napari_damm.train.config import TrainConfig
from napari_damm.util.given import check_path, settings_or_default

if TYPE_CHECKING:
    from distributed import Client

    from napari_damm.analysis.group_table import Member
    from napari_damm.dataset import Source
    from napari_damm.engine import Survey
    from napari_damm.engine.intervals import PredictionInterval
    from napari_damm.events import Event
    from napari_damm.model.damm import DAMM

__all__ = [
    "AnalyzeConfig", "BatchSection", "EvaluateConfig", "FolderSource", "MapLayers", "MapSource",
    "PredictConfig", "Result", "SectionSource", "SimulatedSlide", "SimulatedSource", "Slide",
    "SlideSource", "TrainConfig", "analyze", "calibrate", "evaluate", "find_sections",
    "fine_tune", "import_authors_checkpoint", "load_model", "open_result", "open_slide", "plan",
    "predict", "predict_batch", "prediction_interval", "simulate_slide",
]  # fmt: skip


def predict(
    slide: Slide,
    model: DAMM | str | Path | None = None,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
    client: Client | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict the nanoparticle map of a slide, as a generator of events.

    Parameters
    ----------
    slide
        From `open_slide` or `slide_from_arrays`.
    model
        A loaded model, a name, a path, or None for the bundled one.
    config
        Settings; all have defaults.
    store
        Folder for the result (an OME-Zarr); None keeps it in memory.
    client
        A `dask.distributed.Client`: its cluster's workers compute the shards.
    resume
        Continue what is in `store`, of the same job; without it `store` must not exist yet.

    Yields
    ------
    `Planned` first (after notices), `Finished(result)` last. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event and with nothing left behind or lost.

    Examples
    --------
    >>> for event in predict(open_slide("section.ome.tif")):  # doctest: +SKIP
    ...     print(event)
    """
    config = settings_or_default(config, PredictConfig)
    check_path(store, "store")
    loaded = load_model(model, config.device if client is None else "cpu")
    if client is not None:
        from napari_damm.engine.workers import dask

        yield from dask.predict(slide, loaded, config, store, client, resume)
    elif config.workers > 1:
        from napari_damm.engine.workers import processes

        yield from processes.predict(slide, loaded, config, store, resume)
    else:
        from napari_damm import engine

        yield from engine.predict(slide, loaded, config, store, resume)


def predict_batch(
    sections: Sequence[BatchSection],
    model: DAMM | str | Path | None = None,
    config: PredictConfig | None = None,
    client: Client | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict many sections one after another, as a generator of events.

    Parameters
    ----------
    sections
        From `find_sections`, which pairs files; each has its place to save to.
    model, config, client
        As in `predict`, for all of them.
    resume
        Continue, or skip, what an earlier batch has stored; without it no result may exist yet.

    Yields
    ------
    For each section `SectionStarted`, the events of its prediction, and `SectionDone`, or
    `SectionFailed` where it cannot be predicted: the others are. `Finished` last; its `result` is
    an `engine.batch.BatchReport`. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For a model, places or a device that cannot be used, before the first event.

    Examples
    --------
    >>> *_, finished = predict_batch(find_sections(["slides"], "results"))  # doctest: +SKIP
    """
    from napari_damm.engine import batch

    config = settings_or_default(config, PredictConfig)
    batch.check(sections, config, resume, remote=client is not None)
    chosen = {each.model or model for each in sections}
    loaded = {each: load_model(each, config.device if client is None else "cpu") for each in chosen}

    def one(each: BatchSection) -> Iterator[Event]:
        of_it = loaded[each.model or model]
        return predict(each.open(), of_it, each.config(config), each.store, client, resume)

    yield from batch.run(sections, one)


def plan(
    slide: Slide,
    model: DAMM | str | Path | None = None,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
) -> Survey:
    """Say what a prediction would compute and cost, or what is left; see `engine.plan`."""
    from napari_damm import engine

    config = settings_or_default(config, PredictConfig)
    check_path(store, "store")
    return engine.plan(slide, load_model(model, config.device), config, store)


def fine_tune(
    data: Source | Sequence[Source] | None = None,
    model: DAMM | str | Path | None = None,
    config: TrainConfig | None = None,
    out: str | Path | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Fine-tune a model on sections with a nanoparticle image, as a generator of events.

    Parameters
    ----------
    data
        One or more of `SlideSource`, `FolderSource`, `SimulatedSource` and `SectionSource`. None on
        resuming takes those that the training was begun with.
    model
        The base: a loaded model, a name, a path, or None for the bundled one. Unused where
        `config.preset` asks for a new model.
    config
        Settings; all have defaults.
    out
        Folder for checkpoints, curves and the model, which must not exist yet without `resume`;
        None makes one in the user's data folder, named as the model.
    resume
        Go on with the training in `out`; with `epochs` and one device to the same bits as without
        the interruption.

    Yields
    ------
    `Preparing`, `TrainPlanned`, then `TrainStep`, `Validated`, `Saved` and `Notice` as they come,
    and `Finished(TrainedModel)` last. Closing the generator stops at the end of a step: the state
    is saved, and the best model so far is in the folder (`train.run_folder.read_training` says so).

    Raises
    ------
    ValueError, OSError
        For bad input, before `TrainPlanned` and with nothing left behind or lost.

    Examples
    --------
    >>> data = FolderSource("patches", pixel_size_um=0.5)  # doctest: +SKIP
    >>> *_, finished = fine_tune(data, config=TrainConfig(minutes=15))  # doctest: +SKIP
    """
    from napari_damm import train

    config = None if config is None else settings_or_default(config, TrainConfig)
    check_path(out, "out")
    yield from train.fine_tune(data, model, config, out, resume)


def prediction_interval(result: Result) -> PredictionInterval | None:
    """Return between which values the truth is to be expected, pixel by pixel.

    Parameters
    ----------
    result
        What `predict` or `open_result` gave.

    Returns
    -------
    Lazy maps `low` and `high` (y, x) of relative intensity, a nominal 90 % interval, and in words
    what it was `fitted_on`. Of several samples it follows from their spread, of an expected map
    from the model's errors on what it had not learnt from. None where the model is not calibrated.

    Raises
    ------
    ValueError
        If what the result's record says of it cannot be used.
    """
    from napari_damm.engine import intervals

    return intervals.prediction_interval(result)


def evaluate(
    data: Source | Sequence[Source],
    model: DAMM | str | Path | None = None,
    config: EvaluateConfig | None = None,
    out: str | Path | None = None,
) -> Iterator[Event]:
    """Judge a model on sections with a nanoparticle image, as a generator of events.

    Parameters
    ----------
    data
        One or more of `SlideSource`, `FolderSource`, `SimulatedSource` and `SectionSource`;
        simulated sections have reserved seeds (10,000 and up).
    model
        A loaded model, a name, a path, or None for the bundled one.
    config
        Settings; `config.compare` is a second model for the same sections.
    out
        New folder for tables, JSON and a figure; None writes nothing.

    Yields
    ------
    `Preparing` while it works, `FailedItem` for a section that cannot be evaluated, and
    `Finished` last; its `result` is an `evaluation.Report`. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For bad input, with nothing left behind.
    """
    from napari_damm.evaluation import run

    yield from run.evaluate(data, model, config, out)


def calibrate(
    data: Source | Sequence[Source],
    model: DAMM | str | Path | None = None,
    name: str | None = None,
    device: str = "auto",
) -> Iterator[Event]:
    """Give a model 90 % intervals from sections with a nanoparticle image, as events.

    Parameters
    ----------
    data
        As in `evaluate`: sections that the model has not learnt from.
    model, device
        As in `evaluate`. What is found goes on the card in the model's own file,
    name
        or into a new model of this name; the bundled one needs that.

    Yields
    ------
    As `evaluate`; the last result is an `evaluation.calibration.Calibrated`.

    Raises
    ------
    ValueError, OSError
        For bad input, or too little of it; nothing is changed then.
    """
    from napari_damm.evaluation import calibration

    yield from calibration.calibrate(data, model, name, device)


def analyze(
    data: MapSource | MapLayers | str | Path | Sequence[MapSource | MapLayers | str | Path],
    config: AnalyzeConfig | None = None,
    out: str | Path | None = None,
    groups: str | Path | Mapping[str, Member] | None = None,
) -> Iterator[Event]:
    """Measure how particles spread in sections, as a generator of events.

    Parameters
    ----------
    data
        One or more results of `predict`, pictures with an imaged particle channel (paths, or
        `MapSource` where channels must be named), or maps at hand (`MapLayers`).
    config
        Thresholds, bands from the tissue's edge and so on; all have defaults.
    out
        New folder for measures.csv, reasons.csv, profile.csv, report.json, report.html and figures;
        None writes nothing.
    groups
        A CSV table with the columns file, animal, group: then groups are compared, animals being
        the units.

    Yields
    ------
    `Preparing` while it works, `Notice` for what cannot be measured, `FailedItem` for a section
    that fails where others do not, and `Finished` last; its `result` is an
    `analysis.report.AnalysisReport`. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For bad input, with nothing left behind.
    """
    from napari_damm.analysis import run

    yield from run.analyze(data, config, out, groups)


def load_model(name_or_path: DAMM | str | Path | None = None, device: str = "auto") -> DAMM:
    """Load a model by name, from a file, or the bundled one; see `model_file.load_model`."""
    from napari_damm import model_file

    return model_file.load_model(name_or_path, device)


def import_authors_checkpoint(
    path: str | Path, out: str | Path | None = None, pixel_size_um: float | None = None
) -> DAMM:
    """Read a checkpoint of the authors' code; see `import_authors.import_authors_checkpoint`."""
    from napari_damm.model_file import import_authors

    return import_authors.import_authors_checkpoint(path, out, pixel_size_um)
