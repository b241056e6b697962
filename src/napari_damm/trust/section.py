"""Whether a section is such as the model knows, told from some of its windows.

1. Some windows, spread evenly, are read as the model would see them.
2. The mean of their statistics is the section's; how far it lies from those that the model was
   trained on is its familiarity.
3. The verdict: "use" where at least 1 in 20 held-out training sections lies as far off; "do not
   use" where none does; "with care" in between. Reasons in sentences come with the last two; one
   that leaves nothing to predict from (one image twice, or swapped) makes "with care" "do not use".
4. A secondary image that covers only a part of the primary one asks for care, whatever it shows.

5. Windows that show glass in part are left out as far as there are others (`glass`): each of them
   is judged by itself, place by place.

`look` does it from the pixels alone, in well under a second; `assess` with what a plan measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.slide import (
    Normalisation,
    Slide,
    full_of_tissue,
    model_shape,
    normalise,
    read_region,
    tissue_mask,
    touches_tissue,
)
from napari_damm.slide.normalisation import PERCENTILES
from napari_damm.slide.resample import covered, pick_level
from napari_damm.slide.tissue import CELL_SIDE
from napari_damm.trust.glass import all_tissue
from napari_damm.trust.known import Known
from napari_damm.trust.statistics import cross_correlogram, window_statistics
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE, Assessment, verdict_of
from napari_damm.trust.words import Evidence, is_hopeless, mistakes, reasons
from napari_damm.util.tiling import CELL, STRIDE, Box, Lattice, Window

FEWEST_WINDOWS, MOST_WINDOWS, ONE_OF = 9, 16, 4
"""A section is judged by one of four of its windows, but not by fewer or more than these."""
ENOUGH_FOR_A_MEAN = 4
FEW, MANY = 3, 7
"""Windows along each side that `look` takes: the first, unless most show glass."""
MOST_PIXELS = 2**24
"""That `look` reads to find tissue, in half a second; a slide with a pyramid has fewer."""
MORE = 4
"""Times as many windows `assess` looks through where most show glass."""
WHOLE = 0.95
"""Share of the primary image that the secondary one covers, from which on nothing is said."""

Floats = NDArray[np.float32]


def assess(
    slide: Slide,
    card: Mapping[str, Any],
    model_um: float,
    normalisation: Normalisation,
    windows: Sequence[Window],
) -> Assessment | None:
    """Assess a section whose windows with tissue and intensity limits are known.

    Returns
    -------
    The verdict; None where the model does not say what it knows, or nothing could be read.

    Raises
    ------
    ValueError
        If what the model says cannot be used.
    """
    known = Known.of_card(card)
    if known is None:
        return None
    most = min(max(FEWEST_WINDOWS, len(windows) // ONE_OF), MOST_WINDOWS)
    read, pairs = _readable(slide, _some(windows, most), model_um)
    kept = all_tissue(pairs)
    if len(kept) < min(ENOUGH_FOR_A_MEAN, len(pairs)):
        read, pairs = _readable(slide, _some(windows, MORE * most), model_um)
        kept = all_tissue(pairs) or list(range(len(pairs)))
    if not kept:
        return None
    limits = normalisation.vessels, normalisation.nuclei
    images = [
        tuple(normalise(i, *at) for i, at in zip(pairs[k], limits, strict=True)) for k in kept
    ]
    found, rows = _judge(images, known, card, model_um, slide.nuclei_share)
    if len(kept) < ENOUGH_FOR_A_MEAN:  # parts of them were measured
        return found
    measured = zip((read[k] for k in kept), rows, strict=True)
    return replace(found, windows=dict(measured))


def look(slide: Slide, card: Mapping[str, Any]) -> Assessment | None:
    """Assess a section before a run, from nine windows, or, where these are not fine, from tissue.

    Raises
    ------
    ValueError, OSError
        If what the model says cannot be used, or the pixels cannot be read.
    """
    known = Known.of_card(card)
    if known is None:
        return None
    model_um = float(card.get("pixel_size_um") or slide.pixel_size_um)
    lattice = Lattice(model_shape(slide, model_um))
    found, enough = _look_at(_grid(lattice, FEW), slide, known, card, model_um)
    if enough and found.verdict == USE:
        return found
    # there may be tissue between windows of glass
    others = _on_tissue(slide, lattice, model_um) or ([] if enough else _grid(lattice, MANY))
    return _look_at(others, slide, known, card, model_um)[0] if others else found


def _look_at(
    grid: Sequence[Window], slide: Slide, known: Known, card: Mapping[str, Any], model_um: float
) -> tuple[Assessment, bool]:
    """Judge a section by some windows; also return whether enough of them are tissue all over."""
    pairs = [_read(slide, window, model_um) for window in grid]
    there = _with_tissue(pairs)
    whole = [k for k in all_tissue(pairs) if k in there]
    enough = len(whole) >= min(ENOUGH_FOR_A_MEAN, len(pairs))
    there = whole or there
    limits = [
        _limits(np.concatenate([_shown(slide, grid[k], model_um, role, pairs[k]) for k in there]))
        for role in (0, 1)
    ]
    images = [
        tuple(normalise(i, *at) for i, at in zip(pairs[k], limits, strict=True)) for k in there
    ]
    return _judge(images, known, card, model_um, slide.nuclei_share)[0], enough


def _with_tissue(pairs: Sequence[tuple[Floats, Floats]]) -> list[int]:
    """Return the numbers of the windows in which both channels vary: there is no tissue else."""
    weight = [min(float(image.std(dtype=np.float64)) for image in pair) for pair in pairs]
    return [k for k, w in enumerate(weight) if w >= max(weight) / 4]


def section_statistics(images: Sequence[tuple[Floats, Floats]]) -> NDArray[np.float64]:
    """Return the statistics of windows (n, statistics); the section's are their mean."""
    return np.stack([window_statistics(*pair) for pair in images])


def _judge(
    images: Sequence[tuple[Floats, ...]],
    known: Known,
    card: Mapping[str, Any],
    model_um: float,
    nuclei_share: float,
) -> tuple[Assessment, NDArray[np.float64]]:
    """Return the verdict, and the statistics that it was made from."""
    pairs = [(pair[0], pair[1]) for pair in images]
    if len(pairs) < ENOUGH_FOR_A_MEAN:  # all of a small section counts, not its middle alone
        pairs = [corner for pair in pairs for corner in _corners(*pair)]
    rows = section_statistics(pairs)
    row = rows.mean(axis=0)
    familiarity = known.sections.familiarity(row)
    verdict = verdict_of(familiarity)
    said: list[str] = []
    mistaken: list[str] = []
    primary, secondary, *_ = (str(name) for name in card["modalities"])
    if nuclei_share < WHOLE:
        said.append(
            f"the {secondary} cover {100 * nuclei_share:.0f} % of the {primary}' image: "
            f"the rest is predicted from {primary} alone"
        )
    if verdict != USE:
        fit = np.mean([cross_correlogram(*pair) for pair in pairs], axis=0)
        evidence = Evidence(row, known.sections, (primary, secondary), model_um, fit)
        said += reasons(evidence)
        mistaken = mistakes(evidence)
        if is_hopeless(evidence):
            verdict = DO_NOT_USE
    elif said:
        verdict = WITH_CARE
    return Assessment(verdict, familiarity, tuple(said), tuple(mistaken)), rows


def _corners(first: Floats, second: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Yield parts of a window, as large as its middle, that cover it together."""
    height, width = first.shape
    for y in sorted({0, max(0, height - STRIDE)}):
        for x in sorted({0, max(0, width - STRIDE)}):
            at = slice(y, y + STRIDE), slice(x, x + STRIDE)
            yield first[at], second[at]


def _readable(
    slide: Slide, windows: Sequence[Window], model_um: float
) -> tuple[list[Window], list[tuple[Floats, Floats]]]:
    """Return those of the windows that can be read, and both images of each."""
    pairs = {}
    for window in windows:
        try:
            pairs[window] = _read(slide, window, model_um)
        except (OSError, ValueError):  # whoever needs this place will say so
            continue
    return list(pairs), list(pairs.values())


def _read(slide: Slide, window: Window, model_um: float) -> tuple[Floats, Floats]:
    lattice = Lattice(model_shape(slide, model_um))
    box = lattice.window_box(*window)
    first, second = (
        read_region(raster, box, model_um, slide.origin, lattice.shape)
        for raster in (slide.vessels, slide.nuclei)
    )
    return first, second


def _shown(
    slide: Slide, window: Window, model_um: float, role: int, pair: tuple[Floats, Floats]
) -> Floats:
    """Return a third of the pixels of one image of a window, without those it does not reach."""
    lattice = Lattice(model_shape(slide, model_um))
    box, raster = lattice.window_box(*window), (slide.vessels, slide.nuclei)[role]
    inside = box.intersect(Box(0, 0, *lattice.shape))
    reached = covered(raster, inside, model_um, slide.origin, lattice.shape)
    found: Floats = pair[role][inside.shifted(-box.y0, -box.x0).slices][reached]
    return found[::3]


def _some(windows: Sequence[Window], most: int) -> list[Window]:
    """Return at most so many of the windows, evenly."""
    chosen = np.linspace(0, len(windows) - 1, min(most, len(windows))).round().astype(int)
    return [windows[k] for k in np.unique(chosen)] if windows else []


def _grid(lattice: Lattice, side: int) -> list[Window]:
    """Return windows all over a section, at most `side` along each axis."""
    rows = _spread(lattice.rows, lattice.shape[0], lattice, side)
    cols = _spread(lattice.cols, lattice.shape[1], lattice, side)
    return [(int(i), int(j)) for i in rows for j in cols]


def _on_tissue(slide: Slide, lattice: Lattice, model_um: float) -> list[Window]:
    """Return windows of tissue, all over it; none where it would take long to find."""
    for raster in (slide.vessels, slide.nuclei):
        level = pick_level(raster, model_um * CELL / CELL_SIDE)
        if math.prod(raster.planes[level].shape) > MOST_PIXELS:
            return []
    mask, cell_px = tissue_mask(slide, model_um)
    chosen, most = full_of_tissue(mask, cell_px, lattice), MOST_WINDOWS
    if np.count_nonzero(chosen) < ENOUGH_FOR_A_MEAN:
        chosen, most = touches_tissue(mask, cell_px, lattice), MANY**2
    return _some([(int(i), int(j)) for i, j in np.argwhere(chosen)], most)


def _spread(count: int, length: int, lattice: Lattice, most: int) -> NDArray[np.intp]:
    """Return at most so many of the rows (or columns) of windows that do not overhang by much."""
    whole = 1 + max(0, length - lattice.window) // lattice.stride
    whole = min(count, whole)
    ends = 2 if whole > most else 0
    inner = np.linspace(0, whole - 1, most + ends)[ends // 2 : most + ends // 2]
    return np.unique(inner.round().astype(int))


def _limits(values: Floats) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(values, PERCENTILES)) if values.size else (0, 0)
    return low, high if high > low else low + max(abs(low), 1.0)
