from __future__ import annotations

import contextlib

import numpy as np
import pytest
from image_files import ALL, COLOUR, IMAGE, NAMES, TIFFS, imagej, ome, plain

from napari_damm.slide import planes, read_region, tiff_sources
from napari_damm.slide.raster import Raster
from napari_damm.slide.readers import open_image
from napari_damm.util.tiling import Box


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
        (IMAGE[:, :144, :160], {"tile": (16, 16), "volumetric": True}, "volumes of 3 z planes"),
        (IMAGE[None].repeat(2, 0), {"metadata": {"axes": "CQYX"}}, "axes CQYX"),
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


def test_damaged_tiffs_are_read_or_refused_by_name_and_nothing_else(tmp_path, capfd):
    rng = np.random.default_rng(5)
    path = tmp_path / "a.tif"
    for write in (TIFFS["ome big"], TIFFS["ome tiled"], TIFFS["imagej"]):
        whole = write(path).read_bytes()
        refused = 0
        for _ in range(50):
            damaged = bytearray(whole)
            for at in (*rng.integers(8, 700, 3), *rng.integers(len(whole) - 900, len(whole), 2)):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                channels = [Raster("a", planes, 1.0) for planes in open_image(path).planes[:3]]
            except (ValueError, OSError) as error:
                refused += 1
                assert str(path) in str(error) or "channel 'a'" in str(error)
                continue
            for channel in channels:
                with contextlib.suppress(ValueError, OSError):
                    read_region(channel, Box(0, 0, 20, 20), 1.0, (0.0, 0.0), channel.shape)
        assert 0 < refused < 50
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("garble", [("<Pixels", "<Pix els<"), ('X="0.5"', 'X="a.5"')])
def test_garbled_ome_metadata_leave_the_size_to_the_user(tmp_path, garble):
    path = ome(tmp_path / "a.tif")
    old, new = (part.encode() for part in garble)
    content = path.read_bytes()
    assert old in content
    end = content.index(b"</OME>") + len(b"</OME>")
    new = new.ljust(len(old))
    path.write_bytes(content[:end].replace(old, new[: len(old)]) + content[end:])
    file = open_image(path)
    assert file.pixel_size_um is None
    np.testing.assert_array_equal(file.planes[0][0][ALL], IMAGE[0])


def test_tifffile_prints_nothing_about_damage(tmp_path, capfd):
    whole = ome(tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="truncated"):
        open_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


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
