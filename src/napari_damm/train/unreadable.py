"""The patches of a training that cannot be read: passed over, and reported once each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Patch
from napari_damm.events import FailedItem
from napari_damm.util.errors import one_line

Value = TypeVar("Value")


class UnreadablePatches:
    """Guards the reading of patches, and knows those that failed."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._failed: dict[Patch, FailedItem] = {}
        self._told = 0

    def __contains__(self, patch: Patch) -> bool:
        return patch in self._failed

    def read(self, patch: Patch, reader: Callable[[], Value]) -> Value | None:
        """Return what `reader` reads of a patch; None where it fails now or did before."""
        if patch in self._failed:
            return None
        try:
            return reader()
        except (OSError, ValueError) as error:
            box, name = patch.box, self._fields[patch.field].section.name
            item = f"patch of {name} at y {box.y0}, x {box.x0}"
            self._failed[patch] = FailedItem(item, one_line(error))
            return None

    def untold(self) -> Iterator[FailedItem]:
        """Yield the patches that failed since the last time."""
        failed = list(self._failed.values())[self._told :]
        self._told += len(failed)
        yield from failed

    @property
    def messages(self) -> tuple[str, ...]:
        """Each patch with the reason."""
        return tuple(f"{failed.item}: {failed.message}" for failed in self._failed.values())

    @property
    def last(self) -> str:
        """Why the last one failed."""
        return next(reversed(self._failed.values())).message
