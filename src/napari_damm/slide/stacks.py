"""Z stacks and time series: which of their planes a slide is.

1. A file may hold several z planes, time points, or both; a slide is one of each, by number from 0.
2. Where a file holds several, a number must be given; where it holds one, none is needed.
3. Vessels and nuclei in two files take the same numbers. A file that is no stack serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_damm.util.advice import Advice

PLANES = {"z": "z planes", "t": "time points"}


@dataclass(frozen=True)
class StackSize:
    """Number of z planes and of time points: 1 where an image has no such axis."""

    z: int
    t: int

    def chosen(self, z: int | None, t: int | None) -> dict[str, int]:
        """Return the numbers that were needed to choose a plane, by axis."""
        pairs = (("z", self.z, z), ("t", self.t, t))
        return {axis: int(index or 0) for axis, length, index in pairs if length > 1}


NO_STACK = StackSize(1, 1)


def choose_plane(path: Path, axis: str, length: int, index: int | None) -> int:
    """Return which of `length` planes along `axis` ("z" or "t") to read.

    Raises
    ------
    ValueError
        If there are several and no number is given, or one that is out of range.
    """
    if length == 1:
        return 0  # Whether a number was meant for another file is for `common_stack` to say.
    if index is None:
        raise ValueError(
            Advice(f"{path} has {length} {PLANES[axis]}", f"choose one with {{{axis}}}")
        )
    if not 0 <= index < length:
        raise ValueError(
            Advice(
                f"{path} has {length} {PLANES[axis]} and no number {index}",
                f"choose one of 0..{length - 1} with {{{axis}}}",
            )
        )
    return int(index)


def common_stack(files: dict[Path, StackSize]) -> StackSize:
    """Return the size of the stack that one or two files make.

    Raises
    ------
    ValueError
        If both are stacks, but not of the same size.
    """
    lengths = {}
    for axis, what in PLANES.items():
        long = {path: n for path, size in files.items() if (n := getattr(size, axis)) > 1}
        if len(set(long.values())) > 1:
            (one, m), (other, n) = long.items()
            raise ValueError(
                f"{one} has {m} {what} and {other} has {n}: give two files of the same stack"
            )
        lengths[axis] = max(long.values(), default=1)
    return StackSize(**lengths)


def check_indices(path: Path, size: StackSize, z: int | None, t: int | None) -> None:
    """Refuse numbers of planes of what is no stack; 0 means its only plane.

    Raises
    ------
    ValueError
        Naming what to leave out.
    """
    for axis, length, index in (("z", size.z, z), ("t", size.t, t)):
        if length == 1 and index not in (None, 0):
            raise ValueError(
                Advice(
                    f"{path} does not have several {PLANES[axis]} and no number {index}",
                    f"leave out {{{axis}}}",
                )
            )
