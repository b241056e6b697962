"""A simulated section, and a model's card that knows such sections and hardly any others."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from models import CARD
from numpy.typing import NDArray

from napari_damm.simulate import simulate_slide
from napari_damm.slide import Slide, normalise, slide_from_arrays
from napari_damm.trust.known import KEY, Known
from napari_damm.trust.statistics import NAMES, window_statistics

SIZE = 256
SPREAD = 0.15
Image = NDArray[np.generic]


@cache
def section() -> tuple[Image, Image]:
    """Vessels and nuclei of 256 px."""
    drawn = simulate_slide(SIZE, 4)
    return drawn.vessels, drawn.nuclei


def slide(vessels: Image | None = None, nuclei: Image | None = None, um: float = 1.0) -> Slide:
    first, second = section()
    images = {
        "vessels": first if vessels is None else vessels,
        "nuclei": second if nuclei is None else nuclei,
    }
    return slide_from_arrays(images, um)


def statistics(vessels: Image, nuclei: Image) -> NDArray[np.float64]:
    seen = []
    for image in (vessels, nuclei):
        low, high = np.percentile(image, (0.1, 99.9))
        seen.append(normalise(image, float(low), float(high)))
    return window_statistics(*seen)


@cache
def known() -> Known:
    """Sixty sections whose statistics spread around those of `section`."""
    rng = np.random.default_rng(0)
    rows = statistics(*section()) + SPREAD * rng.standard_normal((60, 1, len(NAMES)))
    return Known.fit(list(rows), "sixty drawn sections")


def card(**more: Any) -> dict[str, Any]:
    return {**CARD, KEY: known().to_json(), **more}
