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
from napari_damm.trust.reference import Reference
from napari_damm.trust.statistics import NAMES, window_statistics
from napari_damm.util.tiling import STRIDE

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


def statistics() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return those of the section's window, and the mean of its corners, which is the section's."""
    seen = []
    for image in section():
        low, high = np.percentile(image, (0.1, 99.9))
        seen.append(normalise(image, float(low), float(high)))
    ends = (slice(0, STRIDE), slice(-STRIDE, None))
    corners = [[image[y, x] for image in seen] for y in ends for x in ends]
    return window_statistics(*seen), np.mean([window_statistics(*each) for each in corners], axis=0)


@cache
def known() -> Known:
    """Sixty sections whose statistics spread around those of `section`."""
    rng = np.random.default_rng(0)
    window, whole = statistics()
    spread = SPREAD * rng.standard_normal((60, len(NAMES)))
    windows, sections = (Reference.fit(at + spread, np.arange(60)) for at in (window, whole))
    return Known(windows, sections, "sixty drawn sections")


def card(**more: Any) -> dict[str, Any]:
    return {**CARD, KEY: known().to_json(), **more}
