"""The command `napari-damm train`.

1. Every setting of `TrainConfig` is an option.
2. A settings file may say all of it, data and base model included; what the command line says goes
   before it. On resuming, what is not said is as it was begun.
3. The training is driven with its progress. Ctrl-C ends it at the end of a step, with everything
   saved; the message says how to go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_damm.cli.data_options import DataOptions, with_data
from napari_damm.cli.options import option_flag, said, with_settings
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.train.config import OLD_NAMES, TrainConfig
from napari_damm.util.text import count

HELP = """Fine-tune a model on sections with a nanoparticle image, or train a new one.

Writes RUN/NAME.safetensors, a model with its card. Sections are files (CD31, DAPI and nanoparticles
as channels), or folders with one sub-folder per stain and equal file names."""

# `--pixel-size` is that of the data.
MODEL_PIXEL_SIZE = "--model-pixel-size"
FLAGS = {
    "pixel_size_um": (MODEL_PIXEL_SIZE,),
    **{now: (option_flag(now), option_flag(old)) for old, now in OLD_NAMES.items()},
}
LEFT_OUT = {"name": "that of the folder", "modalities": "vessels,nuclei,nanoparticles"}


@with_settings(TrainConfig, flags=FLAGS, left_out=LEFT_OUT)
@with_data
def train(
    data: DataOptions,
    out: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Folder for checkpoints, curves and the model."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", "--model", metavar="NAME|FILE", help="Model to start from; the bundled one."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings as TOML or JSON.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Put the model into the list of models at the end.")
    ] = False,
    **settings: Any,
) -> int:
    """Fine-tune a model on sections with a nanoparticle image, or train a new one."""
    from napari_damm.train.settings_file import TrainSettings, read_settings

    written = TrainSettings() if config is None else read_settings(config)
    folder = out or written.out
    if folder is None:
        raise ValueError("give --out RUN, a folder for the training")
    here = said(settings)
    if "modalities" in here:
        here["modalities"] = tuple(part.strip() for part in here["modalities"].split(","))
    if "epochs" in here and "minutes" not in here:
        here["minutes"] = None  # whoever says epochs means them
    chosen = _config({**(written.values or {}), **here}, folder, resume)
    sources = data.sources(0) if data.given else list(written.sources)
    if not sources and not resume:
        raise ValueError("give sections to train on: files, folders, --simulated N or --config")
    data.check_heeded()
    if install:
        _check_name(_name(chosen, folder, resume), resume)
    return _run(sources or None, base or written.base, chosen, folder, resume, install)


def _run(
    sources: Any,
    base: str | None,
    config: TrainConfig,
    folder: Path,
    resume: bool,
    install: bool,
) -> int:
    from napari_damm import api

    tally = Tally()
    try:
        finished = follow(
            api.fine_tune(sources, base, config, folder, resume), tally, stops_between_events=True
        )
    except (JobInterrupted, KeyboardInterrupt, JobStopped) as error:
        if _helps_another():
            return 1  # the process that started this one says what there is to say
        if isinstance(error, JobStopped):
            raise JobStopped(f"{error}; {_left(folder)}") from error
        if not tally.is_planned:
            raise
        raise JobInterrupted(f"stopped; {_left(folder)}") from None
    if _helps_another():
        return 0
    for line in _summary(finished.result):
        echo(line)
    if install:
        from napari_damm.model_file import import_model

        trained = finished.result
        info = import_model(trained.path, trained.name, replace=True)
        echo(f"installed as {info.name!r}: napari's Predict offers it now")
    if finished.failed:
        failed = count(len(finished.failed), "patch", "patches")
        raise JobStopped(f"finished, but {failed} could not be read")
    return 0


def _helps_another() -> bool:
    from napari_damm.train.fabric import started_by_fabric

    return started_by_fabric()


def _left(folder: Path) -> str:
    """Say what a training that ended early left."""
    from napari_damm.train.run_folder import read_training

    state = read_training(folder)
    if state is None:
        return "nothing was saved"
    model = f"the best model so far is {state.model}; " if state.model else ""
    return f"{model}step {state.step} is saved: continue with --out {folder} --resume"


def _summary(trained: Any) -> Iterator[str]:
    from napari_damm.events import GAIN
    from napari_damm.model_file import LEAST_R, warning_of
    from napari_damm.train.compared import Compared
    from napari_damm.trust.intervals import KEY

    now, before = trained.scores, trained.base_scores
    linear = trained.card.get("metrics", {}).get("linear", {})
    for name, unit in (("r", ""), ("ssim", ""), ("psnr", " dB"), ("mse", "")):
        if name in now:
            was = f"{before[name]:.4g} -> " if name in before else ""
            beside = f" (a linear model: {linear[name]:.4g})" if name in linear else ""
            yield f"{name if name == 'r' else name.upper():5} {was}{now[name]:.4g}{unit}{beside}"
    compared = Compared.of(now, before)
    if compared.in_nothing:
        yield "the new model is not better than its base on the validation windows"
    elif compared.said_of_some:
        yield f"the new model is better than its base {compared.said_of_some}"
    elif "ssim" in before and all(name in now for name in GAIN):
        low, high = (now[name] for name in GAIN)
        said = "may be chance" if low <= 0 else "is beyond chance"
        yield f"its gain over the base {said}: SSIM {low:+.4f} to {high:+.4f} (95 %)"
    warning = warning_of(trained.card)
    if warning:
        unrelated = (linear.get("r") or 1) < LEAST_R
        ask = ": do the three images show the same place?" if unrelated else ""
        yield f"the new model {warning}{ask}"
    if KEY not in trained.card:
        yield "not calibrated: sections kept aside give it 90 % intervals (napari-damm calibrate)"
    yield f"model {trained.path}"


def _config(given: Mapping[str, Any], folder: Path, resume: bool) -> TrainConfig:
    """Return the settings: as given, else as begun, else the defaults."""
    if resume:
        from napari_damm.train.run_folder import read_training

        begun = read_training(folder)
        if begun is None:
            raise ValueError(f"there is no training in {folder} to resume")
        return replace(begun.config, **{OLD_NAMES.get(k, k): v for k, v in given.items()})
    if "name" not in given and re.fullmatch(r"\w[\w. -]*", folder.name):
        given = {**given, "name": folder.name}
    return TrainConfig.from_dict(given)


def _name(config: TrainConfig, folder: Path, resume: bool) -> str:
    """Return what the model will be called; one that is gone on with keeps its name."""
    from napari_damm.train.run_folder import begun_training

    return begun_training(folder).name if resume else config.name


def _check_name(name: str, resume: bool) -> None:
    """Refuse, before hours of training, a name that cannot be installed, or a folder."""
    from napari_damm.model_file import list_models, user_folder
    from napari_damm.util.files import check_writable

    check_writable(user_folder())
    for info in list_models():
        if info.name == name and info.bundled:
            raise ValueError(f"a model named {name!r} is bundled: choose another --name")
        if info.name == name and not resume:  # a training that goes on may have installed it
            raise ValueError(
                f"a model named {name!r} is installed already: choose another --name, or remove "
                "that one first"
            )
