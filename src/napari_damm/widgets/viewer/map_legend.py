"""What the colours of a prediction's layers mean, in a line each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from napari_damm.widgets.viewer.result_maps import (
    BRANCH,
    FAMILIARITY,
    NP,
    STD,
    UNCERTAINTY,
    branch_meanings,
)

MEANINGS = {
    NP: "black 0 to yellow 1, the dark and bright ends of the images trained on; no dose",
    STD: "bright where the samples differ",
    UNCERTAINTY: "red where the model is less sure",
    FAMILIARITY: "dark where the images are unlike those that the model knows",
}


def map_legend(maps: Collection[str], modalities: Sequence[str]) -> str:
    """Say what the colours of these maps mean, as rich text."""
    lines = [f"<b>{name}</b>: {words}" for name, words in MEANINGS.items() if name in maps]
    if BRANCH in maps:
        lines.append(f"<b>{BRANCH}</b>:")
        lines += [
            f'<span style="color:{branch.colour}">■</span> {meaning}'
            for branch, meaning in branch_meanings(modalities).items()
        ]
    return "<br>".join(lines)
