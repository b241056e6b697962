"""Why a section is unlike what the model knows: one sentence per reason, the surest first.

Each rule looks at a few statistics and says one thing that a microscopist can check. Where none
applies, the statistic that lies furthest off is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_damm.trust.moved import moved_by
from napari_damm.trust.reference import Reference
from napari_damm.trust.spectrum import OCTAVES
from napari_damm.trust.statistics import BLANK, CHANNEL, GROUPS, NAMES

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]

ROLES = "primary", "secondary"
MOST_REASONS = 3
FAR = 3.0
"""Standard deviations from which a single statistic is a reason."""
SAME_IMAGE = 0.98
LIKE_SWAPPED = 0.6
NEARER_SWAPPED, KNOWN_SWAPPED = 0.9, 2.0
"""Share of their distance, and distance, from which on images are said to be mistaken for each
other. Of 7 + 2 real and 24 simulated sections the share was 1.15 to 5.3, swapped 0.19 to 0.84."""
CLEAR_FIT = 5.0
SHOWN_WIDER = 0.1
_AT = {name: k for k, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Evidence:
    """Statistics of a section, what the model knows, and what people call the two images.

    `fit` is the mean cross-correlogram of its windows.
    """

    row: Vector
    known: Reference
    names: tuple[str, str]
    model_um: float
    fit: Floats

    def value(self, name: str) -> float:
        """Return a statistic."""
        return float(self.row[_AT[name]])

    def off(self, name: str) -> float:
        """Return how many standard deviations a statistic lies above its mean."""
        return float(self.known.deviations(self.row)[_AT[name]])

    def usual(self, name: str) -> tuple[float, float]:
        """Return the range of a statistic that the model knows."""
        return float(self.known.low[_AT[name]]), float(self.known.high[_AT[name]])

    @property
    def by_role(self) -> list[tuple[str, str]]:
        """Return (role, what people call it) of both images."""
        return list(zip(ROLES, self.names, strict=True))


def reasons(evidence: Evidence) -> list[str]:
    """Return up to three sentences; at least one."""
    for rule in DECISIVE:
        found = list(rule(evidence))
        if found:
            return found[:MOST_REASONS]
    found = [sentence for rule in RULES for sentence in rule(evidence)]
    return found[:MOST_REASONS] or [_furthest(evidence)]


def is_hopeless(evidence: Evidence) -> bool:
    """Return whether a reason leaves nothing to predict from."""
    return any(any(rule(evidence)) for rule in HOPELESS)


def mistakes(evidence: Evidence) -> list[str]:
    """Return what looks like a slip of whoever chose the images; none or more.

    Of tissue that the model does not know (that is what one fine-tunes on) no image is as in its
    training, but swapped they are still further off: that is enough to ask.
    """
    here, there = _as_given_and_swapped(evidence)
    nearer = there < NEARER_SWAPPED * here and there < KNOWN_SWAPPED
    said = [f"{evidence.names[0]} and {evidence.names[1]} look swapped"] if nearer else []
    return [*_blank(evidence), *_same(evidence), *said]


def _blank(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        if e.value(f"{role} spread") < np.log10(3 * BLANK):
            yield f"the {name} image shows nothing: is it the right channel?"


def _same(e: Evidence) -> Iterator[str]:
    if e.value("correlation") > SAME_IMAGE:
        yield (
            f"both channels show the same image: pick one for {e.names[0]}, another for "
            f"{e.names[1]}"
        )


def _swapped(e: Evidence) -> Iterator[str]:
    here, there = _as_given_and_swapped(e)
    if there < LIKE_SWAPPED * here and there < 1.5:
        yield f"{e.names[0]} and {e.names[1]} look swapped"


def _as_given_and_swapped(e: Evidence) -> tuple[float, float]:
    """Return how far off the images are, the further of the two, as given and if swapped."""
    row = e.row.copy()
    row[GROUPS["primary"]], row[GROUPS["secondary"]] = (
        e.row[GROUPS["secondary"]],
        e.row[GROUPS["primary"]],
    )
    here, there = (max(e.known.distances(r)[role] for role in ROLES) for r in (e.row, row))
    return here, there


def _noise(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        low, _ = e.usual(f"{role} octave 3")
        if e.off(f"{role} octave 0") > FAR and e.value(f"{role} octave 3") < low - 0.3:
            yield f"the {name} image is mostly noise: no structure as the model knows it"


def _saturated(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        share = 10 ** e.value(f"{role} saturated") - 1e-3
        if e.off(f"{role} saturated") > FAR and share > 0.01:
            yield f"the {name} image is saturated on {100 * share:.0f} % of the tissue"


def _width(e: Evidence) -> Iterator[str]:
    found = []
    for role, name in e.by_role:
        width, (low, high) = e.value(f"{role} width"), e.usual(f"{role} width")
        if low - SHOWN_WIDER <= width <= high + SHOWN_WIDER:
            continue
        um, least, most = (e.model_um * 2**v for v in (width, low, high))
        found.append(
            f"{name} look {um:.2g} um wide, the model knows {least:.2g} to {most:.2g}: is the "
            "pixel size right?"
        )
    yield from found[-1:]  # of both, nuclei are the better ruler


def _squares(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        if e.off(f"{role} squares") > FAR:
            yield f"the {name} image shows the squares of strong JPEG compression"


def _agreement(e: Evidence) -> Iterator[str]:
    low, _ = e.usual("agreement")
    if e.value("agreement") >= low or any(_width(e)):
        return  # of structures of another width nobody knows where they should lie
    said = f"{e.names[1]} do not fit where the {e.names[0]} are"
    moved = moved_by(e.fit, CLEAR_FIT)
    if moved is None:
        yield f"{said}: are both images of the same place?"
    else:
        yield f"{said}: they look shifted by about {math.hypot(*moved) * e.model_um:.0f} um"


def _sharpness(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        fine = min(e.off(f"{role} octave 0"), e.off(f"{role} octave 1"))
        if fine < -FAR:
            yield f"the {name} image is less sharp than any that the model knows: out of focus?"
        elif e.off(f"{role} octave 0") > FAR:
            yield f"the {name} image has more noise or finer detail than any that the model knows"


def _intensities(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        brighter, darker = e.off(f"{role} mean"), e.off(f"{role} dark")
        worst = max(brighter, -darker, key=abs)
        if abs(worst) > FAR:
            much = "more" if worst > 0 else "less"
            yield f"the {name} image is bright on {much} of the tissue than the model knows"


def _texture(e: Evidence) -> Iterator[str]:
    for role, name in e.by_role:
        what = ("skew", "peaks fine", "peaks coarse", "skew coarse")
        if max(abs(e.off(f"{role} {each}")) for each in what) > FAR:
            yield f"the {name} image has another texture than those that the model knows"


Rule = Callable[[Evidence], Iterator[str]]
DECISIVE: tuple[Rule, ...] = (_blank, _same, _swapped, _noise)
"""Any of these explains everything else that is odd."""
HOPELESS: tuple[Rule, ...] = (_blank, _same, _swapped)
"""Any of these leaves nothing to predict from, however near the statistics are."""
RULES: tuple[Rule, ...] = (
    _saturated,
    _width,
    _squares,
    _agreement,
    _sharpness,
    _texture,
    _intensities,
)


def _furthest(e: Evidence) -> str:
    """Name the statistic that lies furthest off."""
    off = np.abs(e.known.deviations(e.row))
    k = int(np.argmax(off))
    for role, name in e.by_role:
        if k in range(*GROUPS[role].indices(len(NAMES))):
            return f"unlike training images in {_title(CHANNEL[k - GROUPS[role].start])} ({name})"
    return f"{e.names[0]} and {e.names[1]} are related otherwise than in training images"


def _title(statistic: str) -> str:
    """Say in words what a statistic of one image measures."""
    if statistic.startswith("octave"):
        short, long = OCTAVES[int(statistic[-1])]
        return f"detail of {short:g} to {long:g} px"
    return _TITLES[statistic]


_TITLES = {
    "width": "the width of structures",
    "mean": "brightness",
    "spread": "contrast",
    "skew": "how intensities are spread",
    "saturated": "saturation",
    "dark": "dark areas",
    "peaks fine": "fine texture",
    "peaks coarse": "texture",
    "skew coarse": "how structures stand out",
    "squares": "traces of JPEG",
}
