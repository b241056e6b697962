from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_damm.slide import planes, tiff_sources
from napari_damm.slide.planes import ArraySource, BlockCache, LazyPlane
from napari_damm.slide.readers import open_image

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


@pytest.mark.parametrize("write", TIFFS.values(), ids=TIFFS)
def test_every_kind_of_tiff_is_read_exactly_whole_and_in_part(tmp_path, write):
    file = open_image(write(tmp_path / "a.tif"))
    assert len(file.channels) == 3
    for channel, expected in zip(file.planes, IMAGE, strict=True):
        for level, plane in enumerate(channel):
            truth = expected[:: 2**level, :: 2**level]
            assert plane.dtype == np.uint16
            np.testing.assert_array_equal(plane[ALL], truth)
            part = (slice(13, 71), slice(5, 90))
            np.testing.assert_array_equal(plane[part], truth[part])


@pytest.mark.parametrize("write", TIFFS.values(), ids=TIFFS)
def test_a_tiff_that_broke_off_anywhere_is_refused(tmp_path, write):
    whole = write(tmp_path / "a.tif").read_bytes()
    # ImageJ files end with a few bytes of padding that nothing refers to.
    lengths = {*np.linspace(1, len(whole) - 20, 40).astype(int), 2, 7, 8, 9, 15, 100, 300}
    broken = tmp_path / "broken.tif"
    for length in lengths:
        broken.write_bytes(whole[:length])
        with pytest.raises((OSError, ValueError), match=r"broken\.tif .*: (copy|save)"):
            open_image(broken)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib", "tile": (64, 64)},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "zlib", "rowsperstrip": 32},
    ],
    ids=["interleaved", "interleaved tiles", "planar", "planar strips"],
)
def test_rgb_tiffs_have_red_green_and_blue(tmp_path, options):
    separate = "planarconfig" in options
    image = np.moveaxis(COLOUR, -1, 0) if separate else COLOUR
    file = open_image(plain(tmp_path / "a.tif", image, photometric="rgb", **options))
    assert file.channels == ("red", "green", "blue")
    for index, (plane,) in enumerate(file.planes):
        np.testing.assert_array_equal(plane[ALL], COLOUR[..., index])


def test_ome_metadata_give_names_and_size(tmp_path):
    file = open_image(ome(tmp_path / "a.tif", um=325.0, unit="nm"))
    assert file.channels == NAMES
    assert file.pixel_size_um == pytest.approx((0.325, 0.325))
    assert len(file.planes[0]) == 3


def test_imagej_metadata_give_names_and_size(tmp_path):
    file = open_image(imagej(tmp_path / "a.tif"))
    assert file.channels == NAMES
    assert file.pixel_size_um == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(
    ("per_unit", "unit", "um"),
    [(20_000, "centimeter", 0.5), (50_800, "inch", 0.5), (300, "inch", None), (2, "none", None)],
)
def test_resolution_tags_count_where_their_unit_and_value_make_sense(tmp_path, per_unit, unit, um):
    options = {"resolution": (per_unit, per_unit), "resolutionunit": unit}
    file = open_image(plain(tmp_path / "a.tif", **options))
    assert file.pixel_size_um == (None if um is None else pytest.approx((um, um)))


def test_opening_reads_no_pixels_and_a_window_reads_its_tiles_only(tmp_path, monkeypatch):
    decoded = []
    original = tiff_sources.SegmentSource._segment

    def spy(self, file, index):
        decoded.append(index)
        return original(self, file, index)

    monkeypatch.setattr(tiff_sources.SegmentSource, "_segment", spy)
    monkeypatch.setattr(planes, "BLOCK_PIXELS", 1)
    file = open_image(ome(tmp_path / "a.tif", tile=(32, 32), compression="zlib"))
    assert decoded == []
    _ = file.planes[0][0][slice(0, 32), slice(40, 70)]
    assert sorted(decoded) == [1, 2]


def test_interleaved_channels_are_decoded_once(tmp_path, monkeypatch):
    loads = []
    original = tiff_sources.SegmentSource.load

    def spy(self, *box):
        loads.append(box)
        return original(self, *box)

    monkeypatch.setattr(tiff_sources.SegmentSource, "load", spy)
    file = open_image(plain(tmp_path / "a.tif", COLOUR, photometric="rgb", compression="zlib"))
    for (plane,) in file.planes:
        _ = plane[ALL]
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("image", "options", "problem"),
    [
        (IMAGE, {"metadata": {"axes": "ZYX"}, "ome": True}, "3 z planes"),
        (IMAGE, {"metadata": {"axes": "TYX"}, "ome": True}, "3 time points"),
        (IMAGE[None].repeat(2, 0), {"metadata": {"axes": "ZCYX"}, "imagej": True}, "2 z planes"),
        (IMAGE[0], {"photometric": "miniswhite"}, "white is zero"),
        (
            IMAGE[0].astype(np.uint8),
            {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
            "indexed colours",
        ),
    ],
)
def test_what_is_not_a_set_of_channels_is_refused(tmp_path, image, options, problem):
    plain(tmp_path / "a.tif", image, **options)
    with pytest.raises(ValueError, match=rf"a\.tif .*{problem}.*: save"):
        open_image(tmp_path / "a.tif")


def test_axes_of_length_one_do_not_matter(tmp_path):
    image = IMAGE[:, None, None]
    metadata = {"axes": "CTZYX", "Channel": {"Name": list(NAMES)}}
    file = open_image(plain(tmp_path / "a.tif", image, metadata=metadata, ome=True))
    assert file.channels == NAMES


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


def test_ome_zarr_stack_is_refused(tmp_path):
    axes = [{"name": name} for name in "zyx"]
    ome_zarr(tmp_path / "a.zarr", axes=axes)
    with pytest.raises(ValueError, match="3 z planes"):
        open_image(tmp_path / "a.zarr")


def test_converter_output_with_the_image_one_level_down_is_found(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    ome_zarr(tmp_path / "a.zarr" / "0", "0.4")
    assert open_image(tmp_path / "a.zarr").channels == NAMES


def test_damaged_ome_zarr_is_refused(tmp_path):
    ome_zarr(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="a")
    for ome in (
        {"multiscales": [{"axes": [{"name": n} for n in "cyx"], "datasets": [{"path": "9"}]}]},
        {"multiscales": [{"axes": [{"name": n} for n in "yx"], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": [{}], "datasets": [{"path": "0"}]}]},
    ):
        group.attrs["ome"] = ome
        with pytest.raises(ValueError, match=r"a\.zarr .*: .*export"):
            open_image(tmp_path / "a.zarr")


def test_pictures_have_colours_and_no_pixel_size(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(COLOUR))
    file = open_image(tmp_path / "a.png")
    assert file.channels == ("red", "green", "blue")
    assert file.pixel_size_um is None
    np.testing.assert_array_equal(file.planes[1][0], COLOUR[..., 1])
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(COLOUR))
    assert open_image(tmp_path / "a.jpg").channels == ("red", "green", "blue")
    (tmp_path / "grey.png").write_bytes(imagecodecs.png_encode(COLOUR[..., 0].copy()))
    assert open_image(tmp_path / "grey.png").channels == ("grey",)


def test_sixteen_bit_colours_stay_sixteen_bit(tmp_path):
    image = np.moveaxis(IMAGE, 0, -1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").planes[2][0], IMAGE[2])


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


def test_tifffile_prints_nothing_about_damage(tmp_path, capfd):
    whole = ome(tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="truncated"):
        open_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


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


def test_a_file_written_anew_is_not_mixed_up_with_the_old_one(tmp_path):
    path = tmp_path / "a.tif"
    for image in (IMAGE, IMAGE[::-1]):
        plane = open_image(ome(path, image, tile=(64, 64), compression="zlib")).planes[0][0]
        np.testing.assert_array_equal(plane[ALL], image[0])


def test_a_file_that_goes_away_later_is_an_os_error(tmp_path):
    path = ome(tmp_path / "a.tif", tile=(64, 64), compression="zlib")
    plane = open_image(path).planes[0][0]
    path.unlink()
    with pytest.raises(OSError, match=r"a\.tif"):
        _ = plane[ALL]


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
