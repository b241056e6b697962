from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import zarr
from image_files import ALL, imagej, ome, ome_zarr, plain

from napari_damm.slide import Slide, open_slide, slide_from_arrays

RNG = np.random.default_rng(4)
IMAGE = RNG.integers(0, 60_000, (3, 700, 500)).astype(np.uint16)
SMALL_BYTES = 16_000
TILES = {"tile": (64, 64), "compression": "zlib"}


def png(path, image=IMAGE):
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, -1))
    path.write_bytes(imagecodecs.png_encode(pixels))
    return path


FILES = {
    "OME-TIFF tiled": lambda p: ome(p, IMAGE, levels=1, **TILES),
    "OME-TIFF pyramid": lambda p: ome(p, IMAGE, **TILES),
    "OME-TIFF mapped": lambda p: ome(p, IMAGE, levels=1),
    "ImageJ": lambda p: imagej(p, IMAGE),
    "strips": lambda p: plain(p, IMAGE, compression="lzw", rowsperstrip=32),
    "RGB": lambda p: plain(p, np.moveaxis(IMAGE, 0, -1), photometric="rgb", compression="zlib"),
    "OME-Zarr 0.4": lambda p: ome_zarr(p, "0.4", IMAGE),
    "OME-Zarr 0.5": lambda p: ome_zarr(p, "0.5", IMAGE),
    "PNG": png,
}


def opened(path):
    return open_slide(path, vessels_channel=0, nuclei_channel=1, pixel_size_um=0.5)


def pixels(slide):
    return [plane[ALL] for channel in slide.channels for plane in channel.planes]


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_a_slide_from_a_file_is_sent_without_its_pixels(tmp_path, write):
    slide = opened(write(tmp_path / "a.tif"))
    expected = pixels(slide)
    _ = [channel.levels for channel in slide.channels]  # A viewer asked for them before.
    sent = pickle.dumps(slide)
    assert len(sent) < SMALL_BYTES < IMAGE.nbytes / 100
    copy: Slide = pickle.loads(sent)
    for ours, theirs in zip(expected, pixels(copy), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert copy.name == slide.name
    assert copy.channel(2).levels[0].shape == (700, 500)


@pytest.mark.parametrize("kind", ["numpy", "pyramid", "dask", "zarr"])
def test_a_slide_from_arrays_is_sent_with_what_it_needs(tmp_path, kind):
    stored = zarr.create_array(tmp_path / "v.zarr", data=IMAGE[0], chunks=(64, 64))
    vessels = {
        "numpy": IMAGE[0],
        "pyramid": [IMAGE[0], IMAGE[0, ::2, ::2]],
        "dask": da.from_array(IMAGE[0], chunks=(100, 100)) + 0,
        "zarr": stored,
    }[kind]
    slide = slide_from_arrays({"vessels": vessels, "nuclei": IMAGE[1]}, 0.5)
    copy = pickle.loads(pickle.dumps(slide))
    for ours, theirs in zip(pixels(slide), pixels(copy), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert copy.identity == slide.identity


def test_an_identity_that_is_known_is_not_made_again(tmp_path, monkeypatch):
    slides = [
        opened(FILES["OME-TIFF tiled"](tmp_path / "a.tif")),
        slide_from_arrays({"vessels": IMAGE[0], "nuclei": IMAGE[1]}, 0.5),
    ]
    known = [slide.identity for slide in slides]
    sent = [pickle.dumps(slide) for slide in slides]
    (tmp_path / "a.tif").unlink()
    for work in ("file_identity", "_content"):
        monkeypatch.delattr(f"napari_damm.slide.identity.{work}")
    assert [pickle.loads(data).identity for data in sent] == known


def test_a_picture_that_became_another_is_noticed(tmp_path):
    sent = pickle.dumps(opened(png(tmp_path / "a.png")))
    png(tmp_path / "a.png", IMAGE[:, :90])
    copy = pickle.loads(sent)
    with pytest.raises(OSError, match=r"a\.png is another picture now: open it again"):
        _ = copy.vessels.planes[0][ALL]


def test_another_process_reads_the_same_pixels(tmp_path):
    slides = [opened(write(tmp_path / str(n))) for n, write in enumerate(FILES.values())]
    slides.append(slide_from_arrays({"vessels": IMAGE[0], "nuclei": da.from_array(IMAGE[1])}, 0.5))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for slide, theirs in zip(slides, pool.map(pixels, slides), strict=True):
            for ours, sent in zip(pixels(slide), theirs, strict=True):
                np.testing.assert_array_equal(ours, sent)
