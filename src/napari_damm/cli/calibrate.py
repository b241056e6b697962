"""The command `napari-damm calibrate`.

1. Turn inputs and options into sources (`data_options`).
2. Drive the calibration, with its progress; a section that fails is listed, the others go on.
3. Say what the model's 90 % intervals are now, and in which file.
"""

from __future__ import annotations

from typing import Annotated

import typer

from napari_damm.cli.data_options import DataOptions, with_data
from napari_damm.cli.options import ModelName
from napari_damm.cli.progress import JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.util.settings import DEVICES
from napari_damm.util.text import count

HELP = """Give a model 90 % intervals that hold on sections whose nanoparticles were imaged.

It must not have learnt from them. What is found goes on the card in the model's own file; with
--name NAME into a new model, which is how the bundled one is calibrated."""


@with_data
def calibrate(
    data: DataOptions,
    model: ModelName = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Save it as a new model; the other stays as it is."),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="|".join(DEVICES), help="Where to compute.")
    ] = "auto",
) -> int:
    """Fit the 90 % intervals of a model."""
    from napari_damm import api
    from napari_damm.simulate import EVALUATION_SEEDS_FROM
    from napari_damm.trust.intervals import FEWEST, OF_FEW, OTHERS_DIFFER

    sources = data.sources(EVALUATION_SEEDS_FROM)
    finished = follow(api.calibrate(sources, model, name, device), Tally())
    found = finished.result
    echo(
        f"90 % intervals from {found.intervals.fitted_on}, against the {found.intervals.truth}: "
        f"{found.width:.2f} wide on average, where the map goes from 0 to 1"
    )
    if found.intervals.unit == OF_FEW:
        echo(f"windows of few sections: {OTHERS_DIFFER}; give {FEWEST} sections or more")
    echo("measures of a map, and the spread of several samples, are not calibrated by this")
    echo(f"model {found.path}")
    if finished.failed:
        left = count(len(finished.failed), "section")
        raise JobStopped(f"finished, but {left} could not be used (listed above)")
    return 0
