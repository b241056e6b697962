"""The command `napari-damm evaluate`.

1. Turn inputs and options into sources and settings (`data_options`).
2. Drive the evaluation, with its progress; a section that fails is listed, the others go on.
3. Print the table of the report, and where the rest of it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_damm.cli.data_options import DataOptions, with_data
from napari_damm.cli.options import ModelName, said, with_settings
from napari_damm.cli.progress import JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.evaluation.in_words import in_words
from napari_damm.util.text import count

HELP = """Judge a model on sections whose nanoparticles were imaged.

Writes report.json, sections.csv, summary.csv and figure.png into a new folder."""


@with_settings(EvaluateConfig)
@with_data
def evaluate(
    data: DataOptions,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the report; it must not exist yet.")
    ],
    model: ModelName = None,
    compare: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A second model, on the same sections.")
    ] = None,
    **settings: Any,
) -> int:
    """Judge a model on sections whose nanoparticles were imaged."""
    from napari_damm import api
    from napari_damm.simulate import EVALUATION_SEEDS_FROM

    sources = data.sources(EVALUATION_SEEDS_FROM)
    config = api.EvaluateConfig(compare=compare, **said(settings))
    finished = follow(api.evaluate(sources, model, config, out), Tally())
    report = finished.result
    done = len(report.sections)
    echo(f"{count(done, 'section')}; mean (95 % interval over sections)")
    echo(f"truth: {report.truth}")
    for caution in report.cautions:
        echo(f"caution: {caution}")
    for sentence in in_words(report):
        echo(sentence)
    for line in report.table():
        echo(line)
    for name in ("report.json", "sections.csv", "summary.csv", "figure.png"):
        echo(f"{name:13} {report.path / name}")
    if finished.failed:
        raise JobStopped(
            f"finished, but {len(finished.failed)} of {done + len(finished.failed)} sections "
            "could not be evaluated (listed above)"
        )
    return 0
