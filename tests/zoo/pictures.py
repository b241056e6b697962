"""Pictures: TIFF, OME-TIFF, PNG and what is no picture at all."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from image_files import ome_set, several_images

from zoo.bombs import png
from zoo.case import Group
from zoo.goods import good, predict

CASES = Group("pictures")

RNG = np.random.default_rng(7)
V, N, Q = RNG.integers(100, 4000, (3, 64, 80)).astype(np.uint16)
NAMED = ["--vessels-channel", "0", "--nuclei-channel", "1"]
SIZE = ["--pixel-size", "1"]
SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def described(path: Path, pixels: str, planes: str = "<TiffData/>", name: str = "a") -> None:
    """Write two planes under a description of our own."""
    xml = (
        f'<OME xmlns="{SCHEMA}"><Image ID="Image:0" Name="{name}"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYCZT" Type="uint16" SizeX="80" SizeY="64" {pixels}>{planes}'
        "</Pixels></Image></OME>"
    )
    with tifffile.TiffWriter(path) as tif:
        tif.write(V, description=xml.encode(), metadata=None, photometric="minisblack")
        tif.write(N, metadata=None, photometric="minisblack")


@CASES.refused("a thousand million channels", "claims more than 100,000 planes")
def _channels(folder: Path) -> list[str]:
    described(folder / "a.ome.tif", 'SizeC="1000000000" SizeZ="1" SizeT="1"')
    return predict(folder, *NAMED, section="a.ome.tif")


@CASES.refused("a size of 5,000 digits", "claims more than 100,000 planes")
def _digits(folder: Path) -> list[str]:
    described(folder / "a.ome.tif", f'SizeC="{"9" * 5000}" SizeZ="1" SizeT="1"')
    return predict(folder, *NAMED, section="a.ome.tif")


@CASES.refused("a thousand million z planes", "claims more than 100,000 planes")
def _planes(folder: Path) -> list[str]:
    described(folder / "a.ome.tif", 'SizeC="2" SizeZ="1000000000" SizeT="1"')
    return predict(folder, *NAMED, "--z", "0", section="a.ome.tif")


@CASES.refused("planes of a thousand million", "PlaneCount 1000000000")
def _count(folder: Path) -> list[str]:
    data = '<TiffData IFD="0" PlaneCount="1000000000"/>'
    described(folder / "a.ome.tif", 'SizeC="2" SizeZ="1" SizeT="1"', data)
    return predict(folder, *NAMED, section="a.ome.tif")


@CASES.refused("ImageJ images of a thousand million", "claims 1000000000 images|truncated")
def _imagej(folder: Path) -> list[str]:
    text = "ImageJ=1.53\nimages=1000000000\nchannels=1000000000\nhyperstack=true\n"
    tifffile.imwrite(folder / "a.tif", V, description=text, metadata=None)
    return predict(folder, *NAMED, *SIZE, section="a.tif")


@CASES.refused("positions of one size", "holds 3 images of similar size: give --image")
def _positions(folder: Path) -> list[str]:
    image = np.stack([V, N])
    several_images(folder / "a.ome.tif", [image, image[:, ::-1], image[:, :, ::-1]])
    return predict(folder, *NAMED, section="a.ome.tif")


@CASES.refused("no such image", "no image 7 in")
def _no_image(folder: Path) -> list[str]:
    several_images(folder / "a.ome.tif", [np.stack([V, N])] * 2)
    return predict(folder, *NAMED, "--image", "7", section="a.ome.tif")


@CASES.refused("a set that was renamed", r"should be in m1\.ome\.tif")
def _renamed(folder: Path) -> list[str]:
    image = [("all", [(0, "CD31", V), (1, "DAPI", N)])]
    first, second = ome_set(folder, ["m0.ome.tif", "m1.ome.tif"], image)
    second.rename(folder / "dapi.ome.tif")
    return predict(folder, *NAMED, section=first.name)


@CASES.refused("a set that reaches out of its folder", "outside of its own folder")
def _outside(folder: Path) -> list[str]:
    names = ["a.ome.tif", "../../../../etc/hostname"]
    image = [("all", [(0, "CD31", V), (1, "DAPI", N)])]
    ome_set(folder, names, image, here=[0])
    return predict(folder, *NAMED, section="a.ome.tif")


@CASES.refused("channels last", "channels seem to come last")
def _last(folder: Path) -> list[str]:
    tifffile.imwrite(folder / "a.tif", np.stack([V, N], -1), photometric="minisblack")
    return predict(folder, *NAMED, *SIZE, section="a.tif")


@CASES.refused("grey samples that are no colours", "cannot tell which channel")
def _grey(folder: Path) -> list[str]:
    image = np.stack([V, N, Q], -1)
    tifffile.imwrite(folder / "a.tif", image, photometric="minisblack", planarconfig="contig")
    more = ["--out", "out.ome.zarr", "--vessels-channel", "0", *SIZE]
    return ["predict", "a.tif", *more]


def _resolution(um: float) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        metadata = {"axes": "CYX", "PhysicalSizeX": um, "PhysicalSizeY": um}
        tifffile.imwrite(
            folder / "a.ome.tif",
            np.stack([V, N]),
            ome=True,
            photometric="minisblack",
            metadata=metadata,
        )
        return predict(folder, *NAMED, section="a.ome.tif")

    return make


for _um in (84.667, 264.58, 352.78, 9999.0):
    CASES.refused(f"{_um} um per pixel", "it states .* um, as a printer's")(_resolution(_um))


@CASES.refused("a pixel size of 10,000 um", "pixel size of 10000 um is larger")
def _huge(folder: Path) -> list[str]:
    return predict(folder, "--pixel-size", "10000")


@CASES.refused("a pixel size of 10,000 um, confirmed", "windows|memory|GB")
def _huge_confirmed(folder: Path) -> list[str]:
    return predict(folder, "--pixel-size", "10000", "--coarse-pixels")


@CASES.refused("a PNG of 60,000 px", "60,000 x 60,000 px")
def _png(folder: Path) -> list[str]:
    (folder / "a.png").write_bytes(png(60_000, 8, 2, zlib.compress(bytes(2**22))))
    return predict(folder, *NAMED, *SIZE, section="a.png")


@CASES.refused("a JPEG of 65,500 px", "65,500 x 65,500 px")
def _jpeg(folder: Path) -> list[str]:
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65_500, 65_500, 3) + bytes(9)
    (folder / "a.jpg").write_bytes(b"\xff\xd8" + frame + b"\xff\xda" + bytes(99) + b"\xff\xd9")
    return predict(folder, *NAMED, *SIZE, section="a.jpg")


def _tags(path: Path, changes: dict[str, int]) -> None:
    """Overwrite tags of the first page of a TIFF."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name, value in changes.items():
            tif.pages.first.tags[name].overwrite(value)


@CASES.refused("tiles of 1 px in a picture of 100,000", "cut into|truncated|damaged")
def _crumbs(folder: Path) -> list[str]:
    image = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(folder / "a.tif", image, photometric="rgb", tile=(16, 16), compression="zlib")
    wide = {"ImageWidth": 60_000, "ImageLength": 60_000, "TileWidth": 1, "TileLength": 1}
    _tags(folder / "a.tif", wide)
    return predict(folder, *NAMED, *SIZE, section="a.tif")


@CASES.refused("a strip of 3 GB", "pieces of|truncated")
def _strip(folder: Path) -> list[str]:
    image = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(folder / "a.tif", image, photometric="rgb", compression="zlib")
    _tags(folder / "a.tif", {"ImageWidth": 60_000, "ImageLength": 60_000, "RowsPerStrip": 60_000})
    return predict(folder, *NAMED, *SIZE, section="a.tif")


@CASES.refused("a pipe", "is a pipe or a device")
def _pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.tif")
    return predict(folder, *NAMED, *SIZE, section="a.tif")


@CASES.refused("a device", "is a pipe or a device")
def _device(folder: Path) -> list[str]:
    return predict(folder, *NAMED, *SIZE, section="/dev/zero")


@CASES.refused("a section with one channel", "one channel only")
def _one(folder: Path) -> list[str]:
    tifffile.imwrite(folder / "a.tif", V)
    return ["predict", "a.tif", "--out", "out.ome.zarr", *SIZE]


@CASES.refused("a model in the place of the section", "not an image of a known kind")
def _model(folder: Path) -> list[str]:
    model = good("tiny.safetensors", folder, "b.tif")
    return predict(folder, *NAMED, *SIZE, section=model.name)
