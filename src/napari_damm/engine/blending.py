"""From windows to shards: which shard waits for which window, and what a finished one looks like.

1. Finished windows are kept while a shard needs them: those on a border are computed once and
   serve every shard they touch.
2. A shard whose last window is in is handed on, to be blended; windows that nothing else needs are
   forgotten, so that memory holds the shards in work and one row of border windows.
3. Where areas were asked for, everything outside them is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.engine.pipeline import Blended
from napari_damm.engine.planning import Plan, Shard
from napari_damm.events import Tile
from napari_damm.store import ShardMaps, ShardStatus
from napari_damm.store.layout import SAMPLE_PX, halve
from napari_damm.util.tiling import CELL, Box, Lattice, Window

if TYPE_CHECKING:
    from napari_damm.engine.windows import WindowOutput


class ShardBlender:
    """The windows that are in, and the shards that still wait for some."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._shards = {(shard.row, shard.col): shard for shard in plan.shards}
        self._missing = {at: len(shard.windows) for at, shard in self._shards.items()}
        self._lost: set[Window] = set()
        self._outputs: dict[Window, WindowOutput] = {}

    def take(self, output: WindowOutput) -> None:
        """Take a finished window in."""
        self._outputs[output.window] = output

    def lose(self, window: Window) -> None:
        """Note that a window will not come."""
        self._lost.add(window)

    def completed_by(self, window: Window) -> list[Shard]:
        """Count a window, in or lost, and return the shards that waited for it alone."""
        complete = []
        for at in self._waiting(window):
            self._missing[at] -= 1
            if not self._missing[at]:
                complete.append(self._shards[at])
        return complete

    def hand_on(self, shard: Shard) -> Callable[[], Blended]:
        """Return what blends a complete shard, in any thread; forget what nothing else needs."""
        mine = {w: self._outputs[w] for w in shard.windows if w in self._outputs}
        del self._missing[shard.row, shard.col]
        for window in mine:
            if not self._waiting(window):
                del self._outputs[window]
        lost = not self._lost.isdisjoint(shard.windows)
        status = ShardStatus.FAILED if lost else ShardStatus.DONE
        return partial(self._blended, shard, mine, status)

    def _blended(
        self, shard: Shard, mine: Mapping[Window, WindowOutput], status: ShardStatus
    ) -> Blended:
        maps = self._maps(shard.region, mine, shard.cells, mine)
        maps = replace(maps, samples=self._samples(shard.region, mine))
        return Blended(maps, status, len(mine))

    def tile(self, output: WindowOutput, windows_done: int) -> Tile:
        """Say what the area of a finished window looks like now."""
        lattice, region = self._plan.lattice, self._plan.region
        frame = lattice.window_box(*output.window).intersect(region)
        cells = lattice.owned_cells(*output.window).intersect(region.cells())
        first = region.cells()
        here = {output.window: output}
        maps = self._maps(frame, self._near(output.window), cells, here)
        return Tile(
            y=frame.y0 - region.y0,
            x=frame.x0 - region.x0,
            np=maps.image,
            cell_y=cells.y0 - first.y0,
            cell_x=cells.x0 - first.x0,
            uncertainty=maps.uncertainty,
            branch=maps.branch,
            windows_done=windows_done,
            windows=self._plan.all_windows,
            np_std=maps.std,
            familiarity=maps.familiarity,
        )

    def _maps(
        self,
        box: Box,
        outputs: Mapping[Window, WindowOutput],
        cells: Box,
        owners: Mapping[Window, WindowOutput],
    ) -> ShardMaps:
        """Blend a box of pixels, and gather a box of cells from the windows that own them."""
        lattice, areas = self._plan.lattice, self._plan.areas
        image, std = _blend(lattice, box, outputs, self._plan.layout.with_std)
        uncertainty = lattice.gather_cells(cells, {w: o.uncertainty for w, o in owners.items()})
        branch = lattice.gather_cells(cells, branch_cells(owners)).astype(np.uint8)
        familiarity = self._familiarity(cells, owners)
        if areas is not None:
            _clear((image, std), ~areas.mask(box))
            _clear((uncertainty, branch, familiarity), ~areas.cells(cells))
        return ShardMaps(image, uncertainty, branch, std, familiarity)

    def _familiarity(self, cells: Box, outputs: Mapping[Window, WindowOutput]) -> np.ndarray | None:
        """Return how familiar the window of each cell is; None where that is not told."""
        lattice = self._plan.lattice
        if not self._plan.layout.with_familiarity:
            return None
        side = lattice.window // CELL
        values = {w: np.full((side, side), o.familiarity or 0.0) for w, o in outputs.items()}
        return lattice.gather_cells(cells, values)

    def _samples(self, box: Box, outputs: Mapping[Window, WindowOutput]) -> list[np.ndarray]:
        """Blend each sample of a box, as its small map has it."""
        lattice, areas = self._plan.lattice, self._plan.areas
        made = []
        for k in range(self._plan.layout.samples):
            image = lattice.blend(
                box,
                {
                    w: o.samples[k].repeat(SAMPLE_PX, axis=0).repeat(SAMPLE_PX, axis=1)
                    for w, o in outputs.items()
                    if o.samples is not None
                },
            )
            if areas is not None:
                _clear((image,), ~areas.mask(box))
            made.append(halve(halve(image)))
        return made

    def _waiting(self, window: Window) -> list[tuple[int, int]]:
        return [at for at in self._plan.shards_touching(window) if at in self._missing]

    def _near(self, window: Window) -> dict[Window, WindowOutput]:
        i, j = window
        around = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        return {w: self._outputs[w] for w in around if w in self._outputs}


def _clear(maps: Iterable[np.ndarray | None], outside: np.ndarray) -> None:
    """Set what lies outside to 0, in the maps that there are."""
    for each in maps:
        if each is not None:
            each[outside] = 0


def _blend(
    lattice: Lattice, box: Box, outputs: Mapping[Window, WindowOutput], with_std: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Blend the images of a box, and their standard deviations where there are such."""
    image = lattice.blend(box, {w: o.np for w, o in outputs.items()})
    if not with_std:
        return image, None
    stds = {w: o.std for w, o in outputs.items() if o.std is not None}
    return image, lattice.blend(box, stds)


def branch_cells(outputs: Mapping[Window, WindowOutput]) -> dict[Window, np.ndarray]:
    """Return the `Branch` codes of each window."""
    return {w: o.branch for w, o in outputs.items()}
