"""Small image files of every kind that a slide is read from, and what they must hold."""

from __future__ import annotations

import builtins

import numpy as np
import tifffile
import zarr

NAMES = ("CD31", "DAPI", "QD")
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 60_000, (3, 150, 170)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (150, 170, 3)).astype(np.uint8)
ALL = (slice(None), slice(None))


def ome(path, image=IMAGE, um=0.5, unit="µm", levels=3, **options):
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(NAMES)},
        "PhysicalSizeX": um,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": um,
        "PhysicalSizeYUnit": unit,
    }
    big = options.pop("bigtiff", False)
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as tif:
        options = {"photometric": "minisblack"} | options
        tif.write(image, subifds=levels - 1, metadata=metadata, **options)
        for level in range(1, levels):
            tif.write(image[:, :: 2**level, :: 2**level], subfiletype=1, **options)
    return path


def imagej(path, image=IMAGE, **options):
    metadata = {"axes": "CYX", "unit": "um", "Labels": list(NAMES)}
    tifffile.imwrite(path, image, imagej=True, resolution=(2, 2), metadata=metadata, **options)
    return path


def plain(path, image=IMAGE, **options):
    tifffile.imwrite(path, image, **({"photometric": "minisblack"} | options))
    return path


def uninstall(monkeypatch, library):
    """Make imports of a library fail, as if it were not there."""
    found = builtins.__import__

    def without(name, *more):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return found(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)


def page_by_page(path, image=IMAGE):
    with tifffile.TiffWriter(path) as tif:
        for channel in image:
            tif.write(channel)
    return path


def ome_zarr(path, version="0.5", image=IMAGE, labels=NAMES, unit="micrometer", **more):
    """Write a two-level OME-Zarr by hand, so that the metadata is what the test says."""
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": n, "type": "space"} | ({"unit": unit} if unit else {}) for n in "yx"]
    datasets = []
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    for level in range(2):
        pixels = image[..., :: 2**level, :: 2**level]
        chunks = (1,) * (image.ndim - 2) + (64, 64)
        array = group.create_array(str(level), shape=pixels.shape, chunks=chunks, dtype=image.dtype)
        array[:] = pixels
        scale = [1.0] * (image.ndim - 2) + [0.5 * 2**level] * 2
        transforms = [{"type": "scale", "scale": scale}, *more.get("then", [])]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    ome = {
        "multiscales": [{"axes": more.get("axes", axes), "datasets": datasets, "version": version}],
        "omero": {"channels": [{"label": label} for label in labels]},
    }
    group.attrs.update(ome if version == "0.4" else {"ome": ome | {"version": "0.5"}})
    return path


TIFFS = {
    "ome tiled": lambda p: ome(p, tile=(64, 64), compression="zlib", predictor=True),
    "ome stored": ome,
    "ome big": lambda p: ome(p, bigtiff=True, tile=(32, 64)),
    "imagej": imagej,
    "imagej one directory": lambda p: imagej(p, truncate=True),
    "strips": lambda p: plain(p, compression="lzw", rowsperstrip=7),
    "big endian": lambda p: plain(p, byteorder=">"),
    "page by page": page_by_page,
}


def ome_set(folder, names, images, here=None, um=None, uuids=True):
    """Write one OME-TIFF per name; each carries the description of the whole set.

    `images` is (name, [(file number, channel name, plane)]) of each image; `here`, the numbers of
    the files that are written (all); `um`, their pixel sizes by image.
    """
    import uuid

    ids = [f"urn:uuid:{uuid.UUID(int=k + 1)}" for k in range(len(names))]
    planes = [[] for _ in names]
    described = ""
    for number, (image, channels) in enumerate(images):
        height, width = channels[0][2].shape
        size = 0.5 if um is None else um[number]
        inside = "".join(
            f'<Channel ID="Channel:{number}:{c}" Name="{name}" SamplesPerPixel="1"/>'
            for c, (_, name, _) in enumerate(channels)
        )
        for c, (file, _, plane) in enumerate(channels):
            text = ids[file] if uuids else ""
            inside += (
                f'<TiffData FirstC="{c}" IFD="{len(planes[file])}" PlaneCount="1">'
                f'<UUID FileName="{names[file]}">{text}</UUID></TiffData>'
            )
            planes[file].append(plane)
        described += (
            f'<Image ID="Image:{number}" Name="{image}"><Pixels ID="Pixels:{number}" '
            f'DimensionOrder="XYZCT" Type="uint16" SizeX="{width}" SizeY="{height}" '
            f'SizeC="{len(channels)}" SizeZ="1" SizeT="1" PhysicalSizeX="{size}" '
            f'PhysicalSizeY="{size}">{inside}</Pixels></Image>'
        )
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    for k in range(len(names)) if here is None else here:
        own = f' UUID="{ids[k]}"' if uuids else ""
        xml = f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{schema}"{own}>{described}</OME>'
        with tifffile.TiffWriter(folder / names[k]) as tif:
            for index, plane in enumerate(planes[k]):
                description = {"description": xml.encode()} if index == 0 else {}
                tif.write(plane, photometric="minisblack", metadata=None, **description)
    return [folder / name for name in names]


def several_images(path, images, um=(0.5, 1.0, 2.0)):
    """Write several images of two channels into one OME-TIFF: a field, position or scene each."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        for number, image in enumerate(images):
            metadata = {
                "axes": "CYX",
                "Name": f"pos{number}",
                "Channel": {"Name": [f"CD31 {number}", f"DAPI {number}"]},
                "PhysicalSizeX": um[number],
                "PhysicalSizeY": um[number],
            }
            tif.write(image, photometric="minisblack", metadata=metadata)
    return path


def converted(path, images):
    """Write what bioformats2raw makes: a folder of numbered OME-Zarr images."""
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    for number, image in enumerate(images):
        ome_zarr(path / str(number), "0.4", image)
    return path
