"""Steps of a training as CUDA graphs: some thousand small kernels that start all at once.

1. A step is made of pieces: the noise's, the expected map's or the detail's. Each adds its
   gradients and gives its losses, of tensors of fixed shapes, and asks the host nothing.
2. Pieces of the same kinds make the same step: dropping the gradients, adding new ones, clipping
   them, and AdamW are recorded together, once, and replayed (`engine.step_graph`).
3. What a step must not touch has no gradient in it, as in the plain loop: AdamW would move it.
4. Losses and norm come to the host while the card computes the next step: who takes a step gets
   what waits for them. The moving average follows outside.

Where recording fails, pieces are computed as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_damm.engine.step_graph import CudaRecorder, Recorder, StepGraph
from napari_damm.engine.transfers import Transfers
from napari_damm.events import Notice
from napari_damm.train.state import NotFinite


class Learner(Protocol):
    """What takes a step down its gradients: a `TrainState`, or two that learn together."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All that learns, by name."""

    @property
    def step(self) -> int:
        """Steps that were taken."""

    def touched(self) -> list[Tensor]:
        """Return all that a step changes."""

    def set_rate(self, learning_rate: float) -> None:
        """Let the next step have this learning rate."""

    def step_down(self, clip: float) -> Tensor:
        """Step down the clipped gradients; return their norm; ask the host nothing."""

    def stepped(self) -> None:
        """Count a step."""

    def discard(self) -> None:
        """Drop the gradients."""


@dataclass(frozen=True)
class Piece:
    """A part of a step: `gradients` of what is `given`, the same for all of its `kind`.

    It returns losses, one number each, the one that is minimised first.
    """

    kind: Hashable
    given: tuple[Tensor, ...]
    gradients: Callable[..., tuple[Tensor, ...]]


def recorder_for(kind: str, world: int) -> Recorder | None:
    """Return what records the steps of so many processes on a kind of device, if anything does."""
    return CudaRecorder() if kind == "cuda" and world == 1 else None


class RecordedSteps:
    """Takes the steps of what learns; each kind is recorded at its first."""

    def __init__(self, state: Learner, clip: float, recorder: Recorder) -> None:
        self.state, self.clip = state, clip
        self._recorder = recorder
        self._transfers = Transfers(next(iter(state.parameters.values())).device.type)
        self._graphs: dict[Hashable, StepGraph] = {}
        self._told = False

    def take(self, pieces: Sequence[Piece], learning_rate: float) -> Callable[[], list[float]]:
        """Take one step down the gradients of pieces; return what waits for their losses.

        These come one after the other. What waits for them raises `NotFinite` if one, or the norm
        of the gradients, is no finite number: weights and moments are worth nothing then, those of
        later steps too.
        """
        kind = tuple(piece.kind for piece in pieces)
        if kind not in self._graphs:
            step = _Step(self.state, pieces, self.clip)
            self._graphs[kind] = StepGraph(step, self._recorder, self.state.touched)
        self.state.set_rate(learning_rate)
        found = self._graphs[kind](*(each for piece in pieces for each in piece.given))
        coming = self._transfers.fetch(torch.stack(found))
        self.state.discard()  # what is left is the graph's
        self.state.stepped()
        return partial(_finite, coming, self.state.step)

    def forget(self) -> None:
        """Record anew what comes: what was recorded works on tensors that are used no more."""
        self._graphs.clear()

    def notices(self) -> Iterator[Notice]:
        """Say, once, if steps cannot be recorded."""
        trouble = next((graph.trouble for graph in self._graphs.values() if graph.trouble), "")
        if trouble and not self._told:
            self._told = True
            yield Notice(
                "training steps could not be recorded on the graphics card and are started one by "
                f"one, which is slower ({trouble})",
                "warning",
            )


def _finite(coming: Callable[[], NDArray[Any]], step: int) -> list[float]:
    """Wait for losses and the norm; return the losses."""
    losses: list[float] = coming().tolist()
    norm = losses.pop()
    if not math.isfinite(norm + sum(losses)):
        raise NotFinite(f"the gradients are not finite at step {step}")
    return losses


class _Step:
    """The function that is recorded: all pieces' tensors in, losses and the norm out."""

    def __init__(self, state: Learner, pieces: Sequence[Piece], clip: float) -> None:
        self._state, self._clip = state, clip
        # what the first step was given is forgotten
        self._pieces = [(len(piece.given), piece.gradients) for piece in pieces]

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        self._state.discard()
        losses: list[Tensor] = []
        start = 0
        with torch.enable_grad():
            for count, gradients in self._pieces:
                losses += gradients(*given[start : start + count])
                start += count
        norm = self._state.step_down(self._clip)
        return (*losses, norm)
