"""What compressed pictures state of themselves is read before they are decoded."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from zoo import bombs

from napari_damm.slide import codestreams
from napari_damm.slide.readers import open_image

IMAGE = np.random.default_rng(3).integers(0, 255, (48, 37, 3)).astype(np.uint8)
PICTURES = {
    "jpeg": (codestreams.jpeg, imagecodecs.jpeg8_encode(IMAGE)),
    "jpeg 2000": (codestreams.jpeg2000, imagecodecs.jpeg2k_encode(IMAGE, codecformat="j2k")),
    "jpeg 2000, boxed": (codestreams.jpeg2000, imagecodecs.jpeg2k_encode(IMAGE, codecformat="jp2")),
    "jpeg xr": (codestreams.jpeg_xr, imagecodecs.jpegxr_encode(IMAGE)),
    "webp": (codestreams.webp, imagecodecs.webp_encode(IMAGE, lossless=True)),
    "webp, lossy": (codestreams.webp, imagecodecs.webp_encode(IMAGE, lossless=False)),
    "png": (codestreams.png, imagecodecs.png_encode(IMAGE)),
}


@pytest.mark.parametrize(("read", "data"), PICTURES.values(), ids=PICTURES)
def test_a_picture_states_its_size(read, data):
    stated = read(data)
    assert (stated.height, stated.width) == (48, 37)
    assert stated.samples in (3, 4)


@pytest.mark.parametrize(("read", "data"), PICTURES.values(), ids=PICTURES)
def test_a_picture_cut_off_in_its_head_states_no_size(read, data):
    for length in (0, 1, 3, 8, 11):
        with pytest.raises(codestreams.NoSizeError):
            read(data[:length])


def test_a_jpeg_s_size_is_found_where_decoders_find_it():
    data = PICTURES["jpeg"][1]
    hidden = data.replace(b"\xff\xc0", b"junk\xff\xff\xff\xc0", 1)
    assert codestreams.jpeg(hidden)[:2] == (48, 37)
    with pytest.raises(codestreams.NoSizeError, match="not stated"):
        codestreams.jpeg(data.replace(b"\xff\xc0", b"\xff\xd9", 1))
    with pytest.raises(codestreams.NoSizeError, match="more scans"):
        codestreams.jpeg(data + b"\xff\xda" * 2**22)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("colour", codestreams.PNG_STORED)
def test_a_png_with_more_rows_than_it_states_is_refused(interlaced, colour):
    def png(extra):
        header = struct.pack(">II5B", 37, 48, 8, colour, 0, 0, interlaced)
        rows = bytes(codestreams._png_row_bytes(bytes(16) + header) + extra)
        head, palette = bombs.png_chunk(b"IHDR", header), bombs.png_chunk(b"PLTE", bytes(768))
        data = bombs.png_chunk(b"IDAT", zlib.compress(rows))
        more = palette if colour == 3 else b""
        return b"\x89PNG\r\n\x1a\n" + head + more + data + bombs.png_chunk(b"IEND", b"")

    codestreams.check_png_rows(png(0))
    assert imagecodecs.png_decode(png(0)).shape[:2] == (48, 37)
    with pytest.raises(codestreams.NoSizeError, match="more rows"):
        codestreams.check_png_rows(png(1))


@pytest.mark.parametrize("scheme", ["jpeg", "jpeg2000", "jpegxr", "webp", "zstd", "lzma", "lzw"])
def test_tiles_packed_by_what_slide_scanners_use_are_read(tmp_path, scheme):
    image = np.random.default_rng(4).integers(0, 255, (300, 200, 3)).astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression=scheme)
    planes = open_image(path).planes
    expected = tifffile.imread(path)
    assert all(np.array_equal(planes[c][0][:, :], expected[..., c]) for c in range(3))


@pytest.mark.parametrize("name", ["jpeg", "jpeg 2000", "jpeg xr", "webp"])
def test_a_tile_that_states_far_more_than_its_size_is_refused(tmp_path, name):
    scheme, segment = bombs.SEGMENTS[name]
    bombs.with_segment(tmp_path / "a.tif", scheme, segment())
    plane = open_image(tmp_path / "a.tif").planes[0][0]
    with pytest.raises(OSError, match=r"tile of .*a\.tif, 256 x 256 px, states \d\d,\d\d\d x"):
        plane[:10, :10]


def test_a_tile_packed_by_what_cannot_be_bounded_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE, photometric="rgb", compression="png")
    with pytest.raises(ValueError, match=r"a\.tif is packed by PNG.*: save it with"):
        open_image(tmp_path / "a.tif")
