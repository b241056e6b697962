"""What a result layer remembers of its run, beside the job record: inputs, model, the result.

It stands in the layer's metadata, so that it goes where the layer goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.layer_slides import LayerSource
from napari_damm.widgets.viewer.roles import RESULT_KEY

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_damm.store import Result

NOTES = "napari_damm_run"


@dataclass(frozen=True, eq=False)
class RunNotes:
    """`inputs` by role and `model` as they were picked; `result` once the run has finished.

    `key` is one object for all layers of a run.
    """

    inputs: Mapping[str, LayerSource] = field(default_factory=dict)
    model: Path | None = None
    result: Result | None = None
    key: object = field(default_factory=object)


NO_NOTES = RunNotes()


def notes_of(layer: Layer) -> RunNotes:
    """Return what a layer remembers."""
    notes = layer.metadata.get(NOTES)
    return notes if isinstance(notes, RunNotes) else NO_NOTES


def record_of(layer: Layer) -> Mapping[str, Any] | None:
    """Return the job record of a result layer; None of any other."""
    record = layer.metadata.get(RESULT_KEY)
    return record if isinstance(record, Mapping) and "mode" in record else None


def result_layers(layers: Iterable[Layer]) -> list[Layer]:
    """List the layers that show a prediction."""
    return [layer for layer in layers if record_of(layer) is not None]
