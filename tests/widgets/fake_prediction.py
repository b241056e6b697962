"""`api.predict` without a network, but with a real store and a real live preview."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from fake_job import FakeJob

from napari_damm.engine.live_preview import LivePreview
from napari_damm.events import Event, Finished, Planned, ShardDone, Step, Tile
from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.util.tiling import Lattice

CARD = {
    "name": "tiny",
    "modalities": ["vessels", "nuclei", "nanoparticles"],
    "pixel_size_um": 2.0,
    "training_data": "simulated tissue",
}


PICTURE = {"channel": "vessels", "pixel_size_um": 1.0, "origin_um": [0.0, 0.0]}
RECORD = {
    "input": {"kind": "arrays", "vessels": PICTURE, "nuclei": PICTURE},
    "model": {"name": "tiny", "sha256": "0" * 64, "modalities": CARD["modalities"]},
    "mode": "draft",
    "steps": 8,
    "seed": 3,
    "samples": 1,
    "gamma": 0.5,
    "batch_size": 4,
    "device": "cpu",
    "roi": None,
    "pixel_size_um": 2.0,
    "slide_pixel_size_um": 1.0,
    "versions": {"torch": "2"},
}


class FakePredict(FakeJob):
    """`api.predict` without a network: four windows of 2 um pixels in a real store and preview.

    `samples` above one give a spread; `gain` scales the map; with `doubts` the upper windows are
    surer than the lower ones. `familiar` makes a map of familiarity: usual but for the last window.
    """

    origin = (0.0, 0.0)

    def __init__(self) -> None:
        super().__init__()
        self.samples = 1
        self.gain = 1.0
        self.doubts = False
        self.familiar = False

    def events(self, *arguments: object, **options: object) -> Iterator[Event]:
        try:
            yield from self._predict()
        finally:
            self.closed.set()

    def _predict(self) -> Iterator[Event]:
        lattice = Lattice((448, 448))
        windows = [(i, j) for i in range(lattice.rows) for j in range(lattice.cols)]
        with_std = self.samples > 1
        layout = ResultLayout(
            lattice.shape, 2.0, self.origin, with_std=with_std, with_familiarity=self.familiar
        )
        record = {**RECORD, "finished": None}
        store = ResultStore.create(None, layout, record)
        preview = LivePreview(store)
        yield Planned(lattice.shape, 2.0, self.origin, len(windows), 0, 1, 10, record, preview)
        image = np.zeros(layout.shape, np.float32)
        uncertainty = np.zeros(layout.cells_shape, np.float32)
        branch = np.zeros(layout.cells_shape, np.uint8)
        familiarity = np.zeros(layout.cells_shape, np.float32) if self.familiar else None
        for done, window in enumerate(windows):
            yield from self.hold(done, Step(10 * done + 1, 10 * len(windows)))
            box, cells = lattice.window_box(*window), lattice.owned_cells(*window)
            image[box.slices] = 0.25 * (done + 1) * self.gain
            uncertainty[cells.slices] = (0.2 if done < 2 else 0.7) if self.doubts else 0.5
            branch[cells.slices] = 1 + done % 2
            if familiarity is not None:
                familiarity[cells.slices] = 0.5 if done < 3 else 0.001
            yield Step(10 * (done + 1), 10 * len(windows))
            yield Tile(
                box.y0,
                box.x0,
                image[box.slices].copy(),
                cells.y0,
                cells.x0,
                uncertainty[cells.slices].copy(),
                branch[cells.slices].copy(),
                done + 1,
                len(windows),
                image[box.slices] / 10 if with_std else None,
            )
        std = image / 10 if with_std else None
        store.write_shard(0, 0, ShardMaps(image, uncertainty, branch, std, familiarity))
        yield ShardDone(0, 0, 1, 1)
        store.finish({"finished": "now"})
        yield Finished(store.result(), 1.5)
