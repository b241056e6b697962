"""Results from elsewhere: tampered with, and continued."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.case import Group, canary
from zoo.goods import RESULT, STOPPED, good, predict

CASES = Group("stores")

BAD = r"(result|stopped)\.ome\.zarr"
DEEP = "[" * 100_000 + "]" * 100_000

Change = Callable[[dict[str, Any]], object]


def metadata(change: Change, part: str = ".") -> Callable[[Path], None]:
    """Change the metadata of the group, or of an array in it."""

    def spoil(store: Path) -> None:
        path = store / part / "zarr.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return spoil


def record(**changes: Any) -> Callable[[Path], None]:
    """Change entries of the job record."""
    return metadata(lambda content: content["attributes"]["napari_damm"].update(changes))


def layout(**changes: Any) -> Callable[[Path], None]:
    """Change entries of the layout."""
    return metadata(
        lambda content: content["attributes"]["napari_damm_store"]["layout"].update(changes)
    )


def text(old: str, new: str) -> Callable[[Path], None]:
    """Replace text in the group's metadata."""

    def spoil(store: Path) -> None:
        path = store / "zarr.json"
        path.write_text(path.read_text().replace(old, new, 1))

    return spoil


def whole(content: str, name: str = "zarr.json") -> Callable[[Path], None]:
    """Put another content into a file."""
    return lambda store: (store / name).write_text(content) and None


def link(name: str) -> Callable[[Path], None]:
    """Let a name in the store lead to a place outside."""

    def spoil(store: Path) -> None:
        path, outside = store / name, canary(store.parent).with_suffix(".outside")
        if path.is_dir():
            path.rename(outside)
        else:
            outside.write_text("precious\n")
            path.unlink(missing_ok=True)
        path.symlink_to(outside)

    return spoil


def pipe(name: str) -> Callable[[Path], None]:
    """Put a pipe in the place of a file."""

    def spoil(store: Path) -> None:
        (store / name).unlink(missing_ok=True)
        os.mkfifo(store / name)

    return spoil


SPOILED: dict[str, Callable[[Path], object]] = {
    "an array of 9 x 9": metadata(lambda c: c.update(shape=[9, 9]), "np/0"),
    "an array of 10^12 x 10^12": metadata(lambda c: c.update(shape=[10**12, 10**12]), "np/0"),
    "a status of 10^12": metadata(lambda c: c.update(shape=[10**6, 10**6]), "status"),
    "a status of three dimensions": metadata(lambda c: c.update(shape=[1, 1, 1]), "status"),
    "a chunk of 10^9": metadata(
        lambda c: c["chunk_grid"]["configuration"].update(chunk_shape=[10**9, 10**9]), "branch"
    ),
    "a chunk of 0": metadata(
        lambda c: c["chunk_grid"]["configuration"].update(chunk_shape=[0, 0]), "branch"
    ),
    "another dtype": metadata(lambda c: c.update(data_type="float64"), "np/0"),
    "an object codec": metadata(
        lambda c: c.update(codecs=[{"name": "numcodecs.pickle", "configuration": {}}]), "branch"
    ),
    "an unknown codec": metadata(lambda c: c.update(codecs=[{"name": "evil"}]), "status"),
    "codecs that are text": metadata(lambda c: c.update(codecs="bytes"), "status"),
    "a fill value of 1": metadata(lambda c: c.update(fill_value=1), "status"),
    "an array that is a group": metadata(lambda c: c.update(node_type="group"), "np/0"),
    "a layout of 10^12": layout(shape=[10**12, 10**12]),
    "a layout of 10^7 shards": layout(shape=[2**23, 2**23], shard=64),
    "a layout of half pixels": layout(shape=[440.5, 640]),
    "a layout in words": layout(shape="440 x 640"),
    "a shard of 0": layout(shard=0),
    "a shard of 2^40": layout(shard=2**40),
    "a pixel size of 0": layout(pixel_size_um=0),
    "no layout": metadata(lambda c: c["attributes"]["napari_damm_store"].pop("layout")),
    "no record": metadata(lambda c: c["attributes"].pop("napari_damm")),
    "a record that is a list": metadata(lambda c: c["attributes"].update(napari_damm=[1])),
    "a format in words": metadata(
        lambda c: c["attributes"]["napari_damm_store"].update(format="1")
    ),
    "normalisation of one channel": record(normalisation={"vessels": [0, 1]}),
    "normalisation in words": record(normalisation="0 to 1"),
    "normalisation of lists of lists": record(
        normalisation={"vessels": [[0], [1]], "nuclei": [0, 1]}
    ),
    "normalisation that falls": record(normalisation={"vessels": [1, 0], "nuclei": [0, 1]}),
    "normalisation of others": record(normalisation={"vessels": [0, 1], "nuclei": [0, 1], "x": 1}),
    "resumed that is a number": record(resumed=7),
    "resumed of tables": record(resumed=[{}]),
    "failed that is a number": record(failed=7),
    "failed that is text": record(failed="all"),
    "windows in words": record(windows="six"),
    "windows below zero": record(windows=-6),
    "multi-modal windows of none": record(multi_modal_windows=None, windows=6),
    "versions that are a list": record(versions=[1]),
    "a model that is text": record(model="tiny"),
    "seconds in words": record(seconds="long"),
    "samples of half": record(samples=0.5),
    "a region of three": record(roi=[0, 0, 64]),
    "Infinity in the record": text('"seed": 0', '"seed": Infinity'),
    "NaN in the record": text('"seed": 0', '"seed": NaN'),
    "a number of 400 digits": text('"seed": 0', '"seed": ' + "9" * 400),
    "a record nested 100,000 deep": text('"seed": 0', f'"seed": 0, "x": {DEEP}'),
    "one entry twice": text('"seed": 0', '"seed": 0, "seed": 1'),
    "a lone surrogate": text('"seed": 0', '"seed": 0, "x": "\\ud800"'),
    "metadata that is empty": whole(""),
    "metadata that is no JSON": whole("{"),
    "metadata that is a list": whole("[]"),
    "metadata of an array": whole('{"zarr_format": 3, "node_type": "array"}'),
    "metadata of 20 MB": whole(" " * (20 * 2**20) + "{}"),
    "an array's metadata nested": whole(DEEP, "np/0/zarr.json"),
    "metadata that is a pipe": pipe("zarr.json"),
    "an array's metadata that is a pipe": pipe("branch/zarr.json"),
    "a journal that is a pipe": pipe("journal.jsonl"),
    "a journal that is a link": link("journal.jsonl"),
    "a lock that is a link": link("writer.lock"),
    "a holder that is a link": link("writer.json"),
    "chunks behind a link": link("np/0/c"),
    "an array behind a link": link("branch"),
}


def _cases() -> None:
    for name, spoil in SPOILED.items():

        @CASES.refused(name, BAD)
        def resume(folder: Path, spoil: Callable[[Path], object] = spoil) -> list[str]:
            stopped = good(STOPPED, folder)
            spoil(stopped)
            return predict(folder, "--resume", "--out", stopped.name, "--steps", "2")


_cases()


@CASES.refused("a finished result without --resume", r"result\.ome\.zarr already exists")
def finished(folder: Path) -> list[str]:
    return predict(folder, "--out", good(RESULT, folder).name)
