"""Whether the images of a section lie on each other: what is moved is learnt, or judged, wrongly.

1. Some windows of 256 px, spread over what may be used, are compared with the primary image.
2. Where structures fit clearly better with an image moved back by some pixels than as it lies, it
   is said by how much. Where nothing fits anywhere it cannot be told, and nothing is said.
3. Particles that have spread far from vessels fit these nowhere: their image is compared with what
   a model predicts of it, too.

Of 300 windows and sections of 60 simulated ones that lie as they should, none reached `CLEAR` (the
most: 7.5); seven real fields reach 11 to 28, moved by 12 to 70 px.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from napari_damm.dataset import Field
from napari_damm.evaluation.saturated import said_of_saturated
from napari_damm.evaluation.scores import Floats, Ground
from napari_damm.evaluation.some_windows import MOST_WINDOWS, some_windows
from napari_damm.trust.moved import moved_by
from napari_damm.trust.statistics import cross_correlogram
from napari_damm.util.tiling import STRIDE, WINDOW, Box

CLEAR = 9.0


def said_of_moved(fields: Sequence[Field], names: Sequence[str]) -> Iterator[str]:
    """Say which images of a section, or of the patches of one folder, look moved.

    `names` is what the images of the three roles are called.
    """
    windows = some_windows(fields)
    if not windows:
        return
    for role, name in (("target", names[2]), ("secondary", names[1])):
        try:
            fits = [
                cross_correlogram(field.read("primary", box), field.read(role, box))
                for field, box in windows
            ]
        except (OSError, ValueError):  # whoever needs this place will say so
            continue
        moved = moved_by(np.mean(fits, axis=0), CLEAR)
        if moved is None:
            continue
        section = fields[0].section
        of = section.folder if len(fields) > 1 else section.name
        yield _sentence(
            f"{name} image of {of}", f"that of the {names[0]}", moved, fields[0].model_um
        )


def said_of_predicted(
    pairs: Sequence[tuple[Floats, Floats]], name: str, of: str, model_um: float
) -> str:
    """Say that a target looks moved against what is predicted of it, "" where it does not.

    `pairs` are windows (y, x) of prediction and target, relative intensities. Particles that have
    spread far from vessels lie where a model expects them, if they are where they should be.
    """
    if not pairs:
        return ""
    kept = np.linspace(0, len(pairs) - 1, min(MOST_WINDOWS, len(pairs))).round().astype(int)
    fits = [cross_correlogram(*(2 * np.clip(image, 0, 1) - 1 for image in pairs[k])) for k in kept]
    moved = moved_by(np.mean(fits, axis=0), CLEAR)
    if moved is None:
        return ""
    return _sentence(f"{name} image of {of}", "what the model expects there", moved, model_um)


def _sentence(what: str, against: str, moved: tuple[float, float], model_um: float) -> str:
    y, x = (round(pixels * model_um) for pixels in moved)
    return (
        f"the {what} looks moved against {against}, by about {y} um in y and {x} um in x: register "
        "them, or what is learnt and judged here is wrong"
    )


class Placed:
    """Looks at sections one after another; of the patches of one folder it speaks once."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._saturated: set[str] = set()
        self._names: set[str] = set()

    def said_of(self, field: Field, card: Mapping[str, Any]) -> list[str]:
        """Say which images of a section look moved, and whether its target is saturated.

        `card` is that of the model.
        """
        folder, names = field.section.folder, [str(name) for name in card["modalities"]]
        said = []
        if folder not in self._told:
            said = self._noted(field, said_of_moved([field], names))
        if folder not in self._saturated and (cut := said_of_saturated([field], names[2])):
            self._saturated |= {folder} - {""}
            said.append(cut)
        return said

    def said_beside(
        self, field: Field, ground: Ground, predicted: Floats, card: Mapping[str, Any]
    ) -> list[str]:
        """Say whether the target looks moved against a prediction, if it was not said before."""
        section = field.section
        if section.folder in self._told or section.name in self._names:
            return []
        name, pairs = str(card["modalities"][2]), _pairs(ground, predicted)
        said = said_of_predicted(pairs, name, section.name, field.model_um)
        return self._noted(field, [said] if said else [])

    def _noted(self, field: Field, sentences: Iterable[str]) -> list[str]:
        said = list(sentences)
        if said:
            self._names.add(field.section.name)
            self._told |= {field.section.folder} - {""}
        return said


def _pairs(ground: Ground, predicted: Floats) -> list[tuple[Floats, Floats]]:
    """Return windows of a prediction and of the truth, those in which all pixels count."""
    height, width = ground.truth.shape
    found = []
    for y in range(0, max(1, height - WINDOW + 1), STRIDE):
        for x in range(0, max(1, width - WINDOW + 1), STRIDE):
            at = Box(y, x, min(y + WINDOW, height), min(x + WINDOW, width)).slices
            if ground.inside[at].all():
                found.append((predicted[at], ground.truth[at]))
    return found
