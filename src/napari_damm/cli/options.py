"""The options of the command line that say how sections are predicted, shared by commands."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Model; the bundled one by default.")
]
Mode = Annotated[str, typer.Option(metavar="reference|fast|draft", help="Sampler: exact to quick.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps, if not the mode's.")]
Seed = Annotated[int, typer.Option(help="Seed; the same seed gives the same result.")]
Samples = Annotated[
    int, typer.Option(metavar="K", help="Draw K samples: the result is their mean, and NP std.")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="What computes.")]
