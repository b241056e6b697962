"""LIF files, written as the format is described, read by us and by the library, and damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from image_files import uninstall
from leica import write_lif

from napari_damm.slide import open_slide, stack_size
from napari_damm.slide.readers import open_image

liffile = pytest.importorskip("liffile")
RNG = np.random.default_rng(0)
PANEL = RNG.integers(0, 60_000, (3, 300, 1400)).astype(np.uint16)
DYES = ("CD31", "DAPI", "QD")


def test_a_panel_gives_its_channels_names_and_pixel_size(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL, dyes=DYES)
    slide = open_slide(path)
    assert [each.name for each in slide.channels] == ["CD31", "DAPI", "QD"]
    assert (slide.vessels.name, slide.nuclei.name) == ("CD31", "DAPI")
    assert slide.pixel_size_um == pytest.approx(0.65)
    assert slide.shape == (300, 1400)
    for k, channel in enumerate(slide.channels):
        assert np.array_equal(channel.planes[0][7:290, 1000:1050], PANEL[k, 7:290, 1000:1050])


@pytest.mark.parametrize("axes", ["CYX", "YXC", "CZYX", "ZCYX", "TCYX", "CTZYX"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_pixels_are_those_that_the_library_reads(tmp_path, axes, kind):
    sides = {"C": 2, "Z": 3, "T": 2, "Y": 20, "X": 31}
    pixels = RNG.integers(0, 200, [sides[axis] for axis in axes]).astype(kind)
    path = write_lif(tmp_path / "a.lif", pixels, axes=axes, dyes=DYES)
    where = {axis: sides[axis] - 1 for axis in "ZT" if axis in axes}
    planes = open_image(path, z=where.get("Z"), t=where.get("T")).planes
    with liffile.LifFile(path) as file:
        (image,) = file.images
        array = image.asarray()
        dims = image.dims
    for k, (plane,) in enumerate(planes):
        at = {"C": k, "S": k, **where}
        expected = array[tuple(at.get(axis, slice(None)) for axis in dims)]
        assert plane.dtype == np.dtype(kind)
        assert np.array_equal(plane[0:20, 0:31], expected)


def test_of_a_stack_the_plane_is_asked_for(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL[:, :50, :60], axes="ZYX", dyes=DYES)
    assert stack_size(path).z == 3
    with pytest.raises(ValueError, match="has 3 z planes: choose one with z"):
        open_image(path)
    ((plane,),) = open_image(path, z=2).planes
    assert np.array_equal(plane[0:50, 0:60], PANEL[2, :50, :60])


def test_of_several_images_one_is_asked_for_by_name_or_number(tmp_path):
    small = PANEL[:, :200, :900] // 2
    path = write_lif(tmp_path / "a.lif", PANEL, small, dyes=DYES)
    with pytest.raises(ValueError, match="holds 2 images of similar size"):
        open_image(path)
    for wanted in (1, "section 1"):
        file = open_image(path, image=wanted)
        assert np.array_equal(file.planes[2][0][10:20, 20:30], small[2, 10:20, 20:30])


def test_two_images_of_one_name_are_both_there(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL, PANEL // 2, dyes=DYES)
    text = path.read_bytes()
    for name in ("section 0", "section 1"):
        text = text.replace(name.encode("utf-16-le"), "same name".encode("utf-16-le"))
    path.write_bytes(text)
    for number, pixels in enumerate((PANEL, PANEL // 2)):
        file = open_image(path, image=number)
        assert file.image.names == ("same name", "same name")
        assert np.array_equal(file.planes[0][0][5:9, 5:9], pixels[0, 5:9, 5:9])


def test_an_image_without_pixels_is_left_out(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL, dyes=DYES)
    memory = '<Memory Size="0" MemoryBlockID="MemBlock_9"/>'
    empty = f'<Element Name="none"><Data><Image/></Data>{memory}</Element>'
    head = path.read_bytes()[13:]
    length = int.from_bytes(path.read_bytes()[9:13], "little") * 2
    header = head[:length].decode("utf-16-le").replace("<Children>", "<Children>" + empty)
    coded = header.encode("utf-16-le")
    start = struct.pack("<IIBI", 0x70, 5 + len(coded), 0x2A, len(coded) // 2)
    path.write_bytes(start + coded + head[length:])
    file = open_image(path)
    assert file.image.names == ("section 0",)
    assert np.array_equal(file.planes[1][0][5:9, 5:9], PANEL[1, 5:9, 5:9])


def test_without_dyes_a_channel_is_called_by_its_table(tmp_path):
    file = open_image(write_lif(tmp_path / "a.lif", PANEL[:2]))
    assert file.channels == ("channel 0 (Green)", "channel 1 (Blue)")


def test_without_a_pixel_size_it_is_asked_for(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL, um=None, dyes=DYES)
    with pytest.raises(ValueError, match="has no pixel size"):
        open_slide(path)


@pytest.mark.parametrize(
    ("axes", "said"),
    [("MYX", "2 tiles that were not merged"), ("LYX", "2 steps of a dimension besides")],
)
def test_what_is_no_one_picture_is_refused(tmp_path, axes, said):
    path = write_lif(tmp_path / "a.lif", PANEL[:2, :50, :60], axes=axes, dyes=DYES)
    with pytest.raises(ValueError, match=said):
        open_image(path)


def test_without_the_library_it_says_how_to_get_it(tmp_path, monkeypatch):
    path = write_lif(tmp_path / "a.lif", PANEL)
    uninstall(monkeypatch, "liffile")
    with pytest.raises(ValueError, match=r"pip install 'napari-damm\[lif\]'"):
        open_image(path)


def test_a_file_that_is_replaced_is_told(tmp_path):
    path = write_lif(tmp_path / "a.lif", PANEL, dyes=DYES)
    slide = open_slide(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(OSError, match="is another file now"):
        slide.vessels.planes[0][0:10, 0:10]


def test_damaged_files_are_refused_in_a_sentence_or_read(tmp_path):
    whole = write_lif(tmp_path / "a.lif", PANEL[:, :60, :70], dyes=DYES).read_bytes()
    header = len(whole) - 3 * 60 * 70 * 2
    damaged = [whole[:13], whole[:600], whole[: len(whole) // 2]]
    for k in range(150):
        spoilt = bytearray(whole)
        for at in RNG.integers(9, header if k % 5 else len(whole), 1 + k % 8):
            spoilt[at] ^= 1 << int(RNG.integers(8))
        damaged.append(bytes(spoilt))
    told = []
    for k, content in enumerate(damaged):
        path = tmp_path / f"{k}.lif"
        path.write_bytes(content)
        try:
            open_slide(path, pixel_size_um=1.0).vessels.planes[0][0:60, 0:70]
            told.append("")
        except (ValueError, OSError) as error:
            told.append(str(error))
            assert len(str(error)) < 500
            assert "\n" not in str(error)
    assert all(told[:3])
    assert "" in told
