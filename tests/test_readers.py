from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import zarr
from image_files import ALL, COLOUR, IMAGE, NAMES, TIFFS, ome, ome_zarr

from napari_damm.slide import planes
from napari_damm.slide.planes import ArraySource, BlockCache, LazyPlane
from napari_damm.slide.readers import open_image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_gives_pixels_names_size_and_levels(tmp_path, version):
    file = open_image(ome_zarr(tmp_path / "a.zarr", version))
    assert file.channels == NAMES
    assert file.pixel_size_um == (0.5, 0.5)
    assert file.origin == (0.0, 0.0)
    for channel, expected in zip(file.planes, IMAGE, strict=True):
        np.testing.assert_array_equal(channel[0][ALL], expected)
        np.testing.assert_array_equal(channel[1][ALL], expected[::2, ::2])


def test_ome_zarr_translation_places_the_centre_of_the_first_pixel(tmp_path):
    then = [{"type": "translation", "translation": [0.0, 10.0, 20.0]}]
    file = open_image(ome_zarr(tmp_path / "a.zarr", then=then))
    assert file.origin == (9.75, 19.75)


def test_ome_zarr_scale_without_unit_is_no_pixel_size(tmp_path):
    assert open_image(ome_zarr(tmp_path / "a.zarr", unit=None)).pixel_size_um is None


def test_ome_zarr_in_nanometres(tmp_path):
    file = open_image(ome_zarr(tmp_path / "a.zarr", unit="nanometer"))
    assert file.pixel_size_um == pytest.approx((5e-4, 5e-4))


def test_converter_output_with_the_image_one_level_down_is_found(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    ome_zarr(tmp_path / "a.zarr" / "0", "0.4")
    assert open_image(tmp_path / "a.zarr").channels == NAMES


def test_damaged_ome_zarr_is_refused(tmp_path):
    ome_zarr(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    for metadata in (
        {"multiscales": [{"axes": [{"name": n} for n in "cyx"], "datasets": [{"path": "9"}]}]},
        {"multiscales": [{"axes": [{"name": n} for n in "yx"], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": [{}], "datasets": [{"path": "0"}]}]},
    ):
        group.attrs["ome"] = metadata
        with pytest.raises(ValueError, match=r"a\.zarr .*: .*export"):
            open_image(tmp_path / "a.zarr")


def test_pictures_have_colours_and_no_pixel_size(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    file = open_image(tmp_path / "a.png")
    assert file.channels == ("red", "green", "blue")
    assert file.pixel_size_um is None
    np.testing.assert_array_equal(file.planes[1][0][ALL], COLOUR[..., 1])
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(COLOUR))
    assert open_image(tmp_path / "a.jpg").channels == ("red", "green", "blue")
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(COLOUR[..., 0].copy()))
    assert open_image(tmp_path / "grey.png").channels == ("grey",)


def test_sixteen_bit_colours_stay_sixteen_bit(tmp_path):
    image = np.moveaxis(IMAGE, 0, -1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").planes[2][0][ALL], IMAGE[2])


@pytest.mark.parametrize(
    "encode", [imagecodecs.png_encode, imagecodecs.jpeg_encode], ids=["png", "jpeg"]
)
def test_a_picture_that_broke_off_anywhere_is_refused(tmp_path, encode):
    whole = encode(COLOUR)
    path = tmp_path / "broken.img"
    for length in {*np.linspace(4, len(whole) - 9, 40).astype(int), len(whole) - 1}:
        if encode is imagecodecs.png_encode and length > len(whole) - 9:
            continue  # The checksum of the empty end mark: every pixel is there.
        path.write_bytes(whole[:length])
        with pytest.raises((OSError, ValueError), match=r"broken\.img .*: (copy|save)"):
            open_image(path)


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (lambda p: None, OSError, "does not exist: check the path"),
        (lambda p: p.write_bytes(b""), ValueError, "is empty.*: copy"),
        (lambda p: p.write_text("not pixels"), ValueError, "not an image of a known kind: save"),
        (lambda p: p.write_bytes(b"II*\0"), ValueError, "damaged TIFF.*: copy|truncated"),
        (lambda p: p.mkdir(), ValueError, "directory but not an OME-Zarr image: give"),
        (
            lambda p: zarr.open_group(p, mode="w").attrs.update({"ome": {"plate": {}}}),
            ValueError,
            "plate: give",
        ),
    ],
    ids=["missing", "empty", "text", "header only", "directory", "plate"],
)
def test_other_things_are_refused_in_one_sentence(tmp_path, make, error, problem):
    path = tmp_path / "a.tif"
    make(path)
    with pytest.raises((error, OSError), match=problem) as caught:
        open_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [TIFFS["ome tiled"], TIFFS["ome stored"], ome_zarr])
def test_planes_are_read_alike_by_many_threads_and_in_other_processes(tmp_path, write, monkeypatch):
    monkeypatch.setattr(planes, "BLOCK_PIXELS", 64 * 64)
    monkeypatch.setattr(planes, "_CACHE", BlockCache(3 * 64 * 64 * 2))
    channels = open_image(write(tmp_path / "a.tif")).planes
    copies = pickle.loads(pickle.dumps(channels))
    boxes = [(y, x) for y in range(0, 100, 20) for x in range(0, 130, 25)]

    def agrees(job):
        index, (y, x), source = job
        box = (slice(y, y + 50), slice(x, x + 60))
        return np.array_equal(source[index][0][box], IMAGE[index][box])

    jobs = list(itertools.product(range(3), boxes, (channels, copies)))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(agrees, jobs))


def test_the_block_cache_stays_within_its_limit_and_drops_the_oldest():
    cache = BlockCache(limit=300)
    block = np.zeros(100, np.uint8)
    for row in range(5):
        cache.get(("a", row, 0), lambda: block)
    assert cache._bytes == 300
    loads = []
    for row in (4, 0):
        cache.get(("a", row, 0), lambda row=row: loads.append(row) or block)
    assert loads == [0]


def test_two_blocks_larger_than_the_cache_are_kept():
    cache = BlockCache(limit=10)
    for row in range(3):
        cache.get(("a", row, 0), lambda: np.zeros(100, np.uint8))
    assert len(cache._blocks) == 2


def test_a_file_without_access_is_an_os_error(tmp_path, monkeypatch):
    path = ome(tmp_path / "a.tif")

    def refuse(self, *mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(OSError, match=r"a\.tif cannot be opened \(Permission denied\): check"):
        open_image(path)


def test_zarr_planes_have_native_bytes(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", data=IMAGE[0].astype(">u2"), chunks=(64, 64), zarr_format=2
    )
    plane = LazyPlane(ArraySource(array))
    assert plane[ALL].dtype.isnative
    np.testing.assert_array_equal(plane[ALL], IMAGE[0])
