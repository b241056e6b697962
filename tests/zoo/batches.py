"""Many sections at once: names and places that do not go together."""

from __future__ import annotations

import shutil
from pathlib import Path

from zoo.case import Group, canary
from zoo.goods import CHANNELS, MODEL, SECTION, good

CASES = Group("batches")


def batch(folder: Path, *inputs: str, out: str = "results") -> list[str]:
    model = good(MODEL, folder).name
    return ["predict", *inputs, "--out-dir", out, "--model", model, "--steps", "1", *CHANNELS]


def sections(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        good(SECTION, folder, name)


@CASES.refused("two sections of one name", "rename one")
def _twins(folder: Path) -> list[str]:
    sections(folder, "a/mice/s.ome.tif", "b/mice/s.ome.tif")
    return batch(folder, "a/mice/s.ome.tif", "b/mice/s.ome.tif")


@CASES.refused("one name, two endings", "rename one")
def _endings(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif", "S.TIFF")
    return batch(folder, "s.ome.tif", "S.TIFF")


@CASES.refused("the same file by a link", "given twice")
def _link(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif")
    (folder / "t.ome.tif").symlink_to("s.ome.tif")
    return batch(folder, "s.ome.tif", "t.ome.tif")


@CASES.refused("a link in the place of a result", "already exists")
def _place(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif")
    (folder / "results").mkdir()
    (folder / "results" / "s.ome.zarr").symlink_to(canary(folder))
    return batch(folder, "s.ome.tif")


@CASES.refused("a file in the place of the folder", "is no folder")
def _file(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif")
    (folder / "results").write_text("mine")
    return batch(folder, "s.ome.tif")


@CASES.refused("a folder in a folder that is not there", "does not exist")
def _nowhere(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif")
    return batch(folder, "s.ome.tif", out="no/results")


@CASES.refused("a folder without pictures", "there is no image")
def _empty(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    (folder / "empty" / "Thumbs.db").write_bytes(b"x")
    return batch(folder, "empty")


@CASES.refused("a section that is not there", "does not exist")
def _absent(folder: Path) -> list[str]:
    sections(folder, "s.ome.tif")
    return batch(folder, "s.ome.tif", "t.ome.tif")


for _pattern in ("=", "a=a", "CD31", "CD31=../../x", "CD31="):

    @CASES.refused(f"nuclei by {_pattern!r}", "nuclei-pattern must be|such as CD31=DAPI|has no")
    def _rule(folder: Path, pattern: str = _pattern) -> list[str]:
        sections(folder, "m_CD31.ome.tif")
        return [*batch(folder, "m_CD31.ome.tif"), "--nuclei-pattern", pattern]


def _dash_works(folder: Path, text: str) -> None:
    assert (folder / "results" / "-x.ome.zarr" / "zarr.json").is_file()


@CASES.works("a name that begins as an option", _dash_works, quick=False)
def _dash(folder: Path) -> list[str]:
    (folder / "in").mkdir()
    sections(folder, "in/-x.ome.tif")
    return batch(folder, "in")


for _number, _name in enumerate(("a\x1b[31m.ome.tif", "a\nb.ome.tif", "z\udcff.ome.tif")):

    @CASES.refused(f"letters that cannot be written, {_number}", "that cannot be written: rename")
    def _letters(folder: Path, name: str = _name) -> list[str]:
        sections(folder, "s.ome.tif")
        shutil.copyfile(folder / "s.ome.tif", folder / name)
        more = batch(folder, name)
        more[more.index("--out-dir") : more.index("--out-dir") + 2] = ["--out", "r.ome.zarr"]
        return more
