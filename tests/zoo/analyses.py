"""Measuring maps: tables, label pictures and names from strangers."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from zoo.case import Group
from zoo.goods import RESULT, SECTION, good
from zoo.stores import record

CASES = Group("analyses")

MARKUP = "<script>alert(1)</script>\"'<img src=x onerror=alert(1)> $\\frac{$"
FORMULA = "=cmd|' !C'!A0"


def analyze(*more: str, section: str = "s.ome.tif") -> list[str]:
    imaged = ["--vessels-channel", "vessels", "--particles-channel", "nuclei"]
    return ["analyze", section, "--out", "report", *imaged, *more]


def picture(folder: Path, name: str = "s.ome.tif") -> Path:
    return good(SECTION, folder, name)


def _groups(content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        picture(folder)
        (folder / "groups.csv").write_bytes(content)
        return analyze("--groups", "groups.csv")

    return make


for _name, _says, _content in (
    ("a picture as groups", "not a text file|lacks the column", b"\xff\xd8\xff\xe0\0\x10JFIF"),
    ("groups without a line", "names no file", b"file,animal,group\n"),
    ("groups with a field of 1 MB", "not a CSV table", b"file,animal,group\n" + b"a" * 2**20),
    ("groups with a quote that never ends", "lacks|CSV|twice", b'file,animal,group\n"a,b,c\n' * 9),
    ("groups of other columns", "lacks the column 'file'", b"<html>\n"),
    ("groups with zeros", "lacks the column|CSV", bytes(999)),
    ("groups of other files", "does not name", b"file,animal,group\nother.tif,a,b\n"),
):
    CASES.refused(_name, _says)(_groups(_content))


@CASES.refused("groups of 40 GB of nothing", "larger than 16 MB")
def _hollow(folder: Path) -> list[str]:
    picture(folder)
    with (folder / "groups.csv").open("wb") as file:
        file.truncate(40 * 2**30)
    return analyze("--groups", "groups.csv")


@CASES.refused("a pipe as groups", "not a regular file")
def _pipe(folder: Path) -> list[str]:
    picture(folder)
    os.mkfifo(folder / "groups.csv")
    return analyze("--groups", "groups.csv")


@CASES.refused("a device as groups", "not a regular file")
def _device(folder: Path) -> list[str]:
    picture(folder)
    return analyze("--groups", "/dev/zero")


@CASES.refused("a photograph as regions", "more than 1000 numbers")
def _noise(folder: Path) -> list[str]:
    image = tifffile.imread(picture(folder))[0]
    noise = np.random.default_rng(1).integers(0, 2**16, image.shape).astype(np.uint16)
    tifffile.imwrite(folder / "labels.tif", noise)
    return analyze("--regions", "labels.tif")


def _has_regions(folder: Path, text: str) -> None:
    table = (folder / "report" / "measures.csv").read_text()
    assert "label 1" in table
    assert "label 7" in table


@CASES.works("regions in tiles", _has_regions, quick=False)
def _regions(folder: Path) -> list[str]:
    labels = np.ones_like(tifffile.imread(picture(folder))[0], np.uint8)
    labels[:, :300] = 7
    tifffile.imwrite(folder / "labels.tif", labels, tile=(64, 64), compression="zlib")
    return analyze("--regions", "labels.tif")


@CASES.refused("regions of fractions", "labels must be whole numbers")
def _fractions(folder: Path) -> list[str]:
    image = tifffile.imread(picture(folder))[0]
    tifffile.imwrite(folder / "labels.tif", image.astype(np.float32))
    return analyze("--regions", "labels.tif")


@CASES.refused("a band of nan", "band")
def _band(folder: Path) -> list[str]:
    picture(folder)
    return analyze("--band", "nan-inf")


@CASES.refused("a result whose metadata has 40 GB of nothing", "zarr\\.json|r\\.ome\\.zarr")
def _metadata(folder: Path) -> list[str]:
    (folder / "r.ome.zarr").mkdir()
    with (folder / "r.ome.zarr" / "zarr.json").open("wb") as file:
        file.truncate(40 * 2**30)
    return analyze(section="r.ome.zarr")


def _tampered(name: str, says: str, **changes: object) -> None:
    @CASES.refused(name, says)
    def make(folder: Path) -> list[str]:
        record(**changes)(good(RESULT, folder))
        return ["analyze", RESULT, "--out", "report"]


_PIPED = {"path": "/dev/zero", "channel": "vessels"}
_tampered("a result of a section that is text", "input in the job record", input={
    "kind": "files", "vessels": "a.tif", "nuclei": "b.tif"})  # fmt: skip
_tampered("a result of no section", "input in the job record", input={"kind": "files"})
_tampered("a result of a device", "a device, no file", input={
    "kind": "files", "vessels": _PIPED, "nuclei": _PIPED})  # fmt: skip
_tampered("a result trusted by a number", "trust in the job record", trust=7)
_tampered("a result of code", "versions in the job record", versions={"torch": ["x"]})


def _is_plain(folder: Path, text: str) -> None:
    page = (folder / "report" / "report.html").read_text("utf-8")
    assert not re.search(r"<(script|img src=x)|<img[^>]*onerror", page), "markup got into the page"
    assert "&lt;script&gt;" in page
    rows = list(csv.reader((folder / "report" / "measures.csv").open(encoding="utf-8")))
    assert all(cell[:1] not in "=+@" or not cell for row in rows for cell in row), rows[1]


@CASES.works("names that are markup and formulas", _is_plain, quick=False)
def _names(folder: Path) -> list[str]:
    name = MARKUP.replace("/", "") + ".ome.tif"
    picture(folder, name)
    quoted = name.replace('"', '""')
    table = f'file,animal,group\n"{quoted}","{FORMULA}","@{FORMULA}"\n'
    (folder / "groups.csv").write_text(table)
    return analyze("--groups", "groups.csv", section=name)


@CASES.works("a name that is a formula", _is_plain, quick=False)
def _formula(folder: Path) -> list[str]:
    name = "=HYPERLINK(1)<script>.ome.tif"
    picture(folder, name)
    return analyze(section=name)
