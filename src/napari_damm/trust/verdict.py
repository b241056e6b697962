"""The words of a verdict, and the familiarity that each begins at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.tiling import Window

USE, WITH_CARE, DO_NOT_USE = "use", "with care", "do not use"
VERDICTS = USE, WITH_CARE, DO_NOT_USE
NOT_ASSESSED = "not assessed"
UNUSUAL = 0.05
UNKNOWN = 0.005
"""Familiarity below which no held-out training image lies as far off."""


@dataclass(frozen=True)
class Assessment:
    """A verdict on a section, how familiar it is (0..1), and why, in sentences.

    `mistakes` is what looks like a slip of whoever chose the images: one twice, a blank one, two
    that were swapped. `windows` are the statistics of the windows that it was made from.
    """

    verdict: str
    familiarity: float
    reasons: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    windows: Mapping[Window, NDArray[np.float64]] = field(default_factory=dict, compare=False)


def verdict_of(familiarity: float) -> str:
    """Return the verdict on what is so familiar."""
    if familiarity >= UNUSUAL:
        return USE
    return WITH_CARE if familiarity >= UNKNOWN else DO_NOT_USE


def in_a_line(verdict: str, reasons: Iterable[str]) -> str:
    """Join a verdict and its reasons: "do not use: are both sharp? the nuclei image is blank"."""
    line = ""
    for reason in reasons:
        line += {"": "", "?": " "}.get(line[-1:], "; ") + reason
    return f"{verdict}: {line}" if line else verdict


def said_of_model(record: Mapping[str, Any]) -> str:
    """Say what a job record warns of in its model: that a trivial one is as good; "" if nothing.

    The verdict speaks of the images alone: those that a poor model knows are "use", too.
    """
    model = record.get("model")
    warning = model.get("warning") if isinstance(model, Mapping) else None
    return f"the model {warning}" if isinstance(warning, str) and warning else ""
