"""Which image of a file is read: one of the file that was given, chosen or asked for."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from image_files import ALL, IMAGE, ome, ome_set, ome_zarr, plain, several_images

from napari_damm.slide import open_slide
from napari_damm.slide.images import choose_image
from napari_damm.slide.readers import open_image
from napari_damm.slide.tiff import _check_complete
from napari_damm.util.errors import JobFault

REAL = Path(__file__).parents[2] / "shared" / "real" / "scanner"
OTHER = IMAGE[:, ::-1].copy()


def first(file):
    return np.asarray(file.planes[0][0][ALL])


def positions(folder, written=("p0.ome.tif", "p1.ome.tif"), sizes=(0.5, 8.0)):
    """Write a set with one position per file: each file's XML describes all of them."""
    ids = [f"urn:uuid:{uuid.uuid4()}" for _ in written]
    count, height, width = IMAGE.shape
    images = ""
    for k, (name, um) in enumerate(zip(written, sizes, strict=True)):
        planes = "".join(
            f'<TiffData FirstC="{c}" IFD="{c}" PlaneCount="1"><UUID FileName="{name}">{ids[k]}'
            "</UUID></TiffData>"
            for c in range(count)
        )
        stains = ("CD31", "DAPI", "QD") if k == 0 else ("DAPI", "CD31", "QD")
        channels = "".join(
            f'<Channel ID="Channel:{k}:{c}" Name="{stain}" SamplesPerPixel="1"/>'
            for c, stain in enumerate(stains)
        )
        images += (
            f'<Image ID="Image:{k}" Name="position {k}"><Pixels ID="Pixels:{k}" '
            f'DimensionOrder="XYZCT" Type="uint16" SizeX="{width}" SizeY="{height}" '
            f'SizeC="{count}" SizeZ="1" SizeT="1" PhysicalSizeX="{um}" PhysicalSizeY="{um}">'
            f"{channels}{planes}</Pixels></Image>"
        )
    for k, (name, pixels) in enumerate(zip(written, (IMAGE, OTHER), strict=True)):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/'
            f'Schemas/OME/2016-06" UUID="{ids[k]}">{images}</OME>'
        )
        with tifffile.TiffWriter(folder / name) as tif:
            for c, plane in enumerate(pixels):
                tif.write(
                    plane,
                    photometric="minisblack",
                    metadata=None,
                    description=xml.encode() if c == 0 else None,
                )


@pytest.mark.parametrize("k", [0, 1])
def test_each_file_of_a_set_of_positions_opens_its_own_pixels_names_and_size(tmp_path, k):
    positions(tmp_path)
    file = open_image(tmp_path / f"p{k}.ome.tif")
    np.testing.assert_array_equal(first(file), (IMAGE, OTHER)[k][0])
    assert file.channels[0] == ("CD31", "DAPI")[k]
    assert file.pixel_size_um == ((0.5, 0.5), (8.0, 8.0))[k]


@pytest.mark.parametrize("k", [0, 1])
def test_where_the_other_position_is_absent_names_and_size_are_still_of_this_one(tmp_path, k):
    positions(tmp_path)
    (tmp_path / f"p{1 - k}.ome.tif").unlink()
    file = open_image(tmp_path / f"p{k}.ome.tif")
    np.testing.assert_array_equal(first(file), (IMAGE, OTHER)[k][0])
    assert file.channels[0] == ("CD31", "DAPI")[k]
    assert file.pixel_size_um == ((0.5, 0.5), (8.0, 8.0))[k]


def test_a_renamed_file_of_a_set_borrows_nothing_from_another_position(tmp_path):
    positions(tmp_path)
    (tmp_path / "p0.ome.tif").unlink()
    renamed = (tmp_path / "p1.ome.tif").rename(tmp_path / "mouse.ome.tif")
    try:
        file = open_image(renamed)
    except (ValueError, OSError) as error:
        assert "mouse.ome.tif" in str(error)
    else:
        np.testing.assert_array_equal(first(file), OTHER[0])
        assert file.pixel_size_um in ((8.0, 8.0), None)


def fields(path, *images, names=None):
    with tifffile.TiffWriter(path, ome=True) as tif:
        for k, image in enumerate(images):
            name = {} if names is None else {"Name": names[k]}
            tif.write(image, photometric="minisblack", metadata={"axes": "CYX"} | name)
    return path


def test_of_several_fields_of_similar_size_one_must_be_chosen(tmp_path):
    path = fields(tmp_path / "f.ome.tif", IMAGE, OTHER, names=("left", "right"))
    with pytest.raises(ValueError, match=r"2 images of similar size: give image, one of 0: left"):
        open_image(path)
    for wanted in (1, "1", "Right"):
        file = open_image(path, image=wanted)
        np.testing.assert_array_equal(first(file), OTHER[0])
        assert str(file.image) == "image 1 of 2 (right)"
    for wanted in (2, -1, "middle", "9" * 400):
        with pytest.raises(ValueError, match="no image"):
            open_image(path, image=wanted)


def test_a_small_overview_needs_no_choice_and_can_be_chosen(tmp_path):
    path = fields(tmp_path / "f.ome.tif", IMAGE[:, :40, :40].copy(), IMAGE)
    file = open_image(path)
    np.testing.assert_array_equal(first(file), IMAGE[0])
    assert file.image.number == 1
    assert open_image(path, image=0).planes[0][0].shape == (40, 40)


def test_which_image_was_read_is_in_the_identity_and_the_slide_says_it(tmp_path):
    path = fields(tmp_path / "f.ome.tif", IMAGE, OTHER)
    slides = [open_slide(path, None, 0, 1, 1.0, image=k) for k in (0, 1)]
    assert [slide.identity["vessels"]["image"] for slide in slides] == [0, 1]
    said = "vessels: channel '0', nuclei: channel '1' of f.ome.tif image 1 of 2 (Image1)"
    assert str(slides[1]) == said


def test_two_images_called_alike_are_told_apart_by_number():
    with pytest.raises(ValueError, match="2 images called 'a': give its number, one of 0, 1"):
        choose_image(Path("f"), ("a", "a"), ((9, 9), (9, 9)), "a")


def bioformats2raw(path, *images):
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for k, image in enumerate(images):
        ome_zarr(path / str(k), "0.4", image)
    return path


def test_a_converted_file_gives_its_image_not_the_overview_before_it(tmp_path):
    path = bioformats2raw(tmp_path / "a.zarr", IMAGE[:, :32, :32].copy(), IMAGE)
    np.testing.assert_array_equal(first(open_image(path)), IMAGE[0])
    assert open_image(path, image=0).planes[0][0].shape == (32, 32)
    two = bioformats2raw(tmp_path / "b.zarr", IMAGE, OTHER)
    with pytest.raises(ValueError, match="2 images of similar size"):
        open_image(two)
    np.testing.assert_array_equal(first(open_image(two, image=1)), OTHER[0])


def test_a_set_of_files_that_was_renamed_names_the_file_that_is_looked_for(tmp_path):
    count, height, width = IMAGE.shape
    ids = [f"urn:uuid:{uuid.uuid4()}" for _ in range(count)]
    planes = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="m_{c}.ome.tif">{ids[c]}'
        "</UUID></TiffData>"
        for c in range(count)
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        f'OME/2016-06" UUID="{ids[0]}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="{width}" SizeY="{height}" SizeC="{count}" '
        f'SizeZ="1" SizeT="1">{planes}</Pixels></Image></OME>'
    )
    plain(tmp_path / "renamed.ome.tif", IMAGE[0], metadata=None, description=xml.encode())
    with pytest.raises(OSError, match=r"should be in m_1\.ome\.tif, m_2\.ome\.tif"):
        open_image(tmp_path / "renamed.ome.tif")


@pytest.mark.parametrize("um", [84.667, 264.58, 352.78])
def test_a_printer_s_resolution_in_ome_is_no_pixel_size(tmp_path, um):
    file = open_image(ome(tmp_path / "a.ome.tif", um=um))
    assert file.pixel_size_um is None
    with pytest.raises(ValueError, match="printer's or screen's"):
        open_slide(tmp_path / "a.ome.tif")
    then = [{"type": "scale", "scale": [1.0, um * 2, um * 2]}]
    assert open_image(ome_zarr(tmp_path / "a.zarr", then=then)).pixel_size_um is None


def test_a_pixel_size_beyond_a_microscope_s_must_be_meant(tmp_path):
    path = ome(tmp_path / "a.ome.tif")
    with pytest.raises(ValueError, match=r"10000 um is larger .*coarse_pixels=True if it is meant"):
        open_slide(path, pixel_size_um=10_000)
    assert open_slide(path, pixel_size_um=50, coarse_pixels=True).pixel_size_um == 50


@pytest.mark.parametrize("claimed", ["999999999", "1" * 300])
def test_a_claim_of_a_billion_channels_is_refused_by_its_number(tmp_path, claimed):
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        'OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="uint16" SizeX="170" SizeY="150" SizeC="{claimed}" SizeZ="1" SizeT="1">'
        "<TiffData/></Pixels></Image></OME>"
    )
    path = plain(tmp_path / "a.ome.tif", IMAGE[0], metadata=None, description=xml.encode())
    with pytest.raises(ValueError, match="claims more than 100,000 planes"):
        open_image(path)


def png_header(path, width, height):
    """Write the beginning of a PNG: nothing but its claim of a size, and its end."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    sums = [struct.pack(">I", zlib.crc32(part)) for part in (chunk, b"IEND")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + sums[0]
        + bytes(4)
        + b"IEND"
        + sums[1]
    )
    return path


def test_a_picture_that_claims_gigabytes_is_refused_before_it_is_decoded(tmp_path):
    with pytest.raises(
        ValueError, match=r"states 60,000 x 50,000 px, 8\.4 GiB, and a PNG must be decoded"
    ):
        open_image(png_header(tmp_path / "a.png", 50_000, 60_000))
    frame = b"\xff\xd8\xff\xe0\x00\x10" + bytes(14) + b"\xff\xc0\x00\x11\x08\xea\x60\xea\x60\x03"
    (tmp_path / "a.jpg").write_bytes(frame + bytes(20) + b"\xff\xd9")
    with pytest.raises(ValueError, match=r"states 60,000 x 60,000 px, .* a JPEG"):
        open_image(tmp_path / "a.jpg")


def test_tiles_of_one_pixel_over_a_huge_plane_are_refused():
    path = Path("a.tif")
    keyframe = SimpleNamespace(
        chunked=(1, 1, 100_000, 100_000, 1),
        chunks=(1, 1, 1, 1, 1),
        tilelength=1,
        tilewidth=1,
        is_contiguous=False,
        compression=8,
    )
    series = SimpleNamespace(keyframe=keyframe, dtype=np.dtype(np.uint8))
    with pytest.raises(ValueError, match="cut into 10,000,000,000 tiles of 1 x 1 px"):
        _check_complete(path, series)


@pytest.mark.parametrize("channels", [2, 5, 16])
def test_channels_that_come_last_are_told_from_a_section_as_many_pixels_wide(tmp_path, channels):
    last = np.moveaxis(np.resize(IMAGE, (channels, 150, 170)), 0, -1).copy()
    with pytest.raises(ValueError, match="seem to come last"):
        open_image(plain(tmp_path / "a.tif", last))


def test_stains_side_by_side_in_a_page_are_not_red_green_and_blue(tmp_path):
    grey = np.moveaxis(IMAGE, 0, -1).copy()
    path = plain(tmp_path / "a.tif", grey, planarconfig="contig")
    assert open_image(path).channels == ("0", "1", "2")
    with pytest.raises(ValueError, match="which channel"):
        open_slide(path, vessels_channel=0, pixel_size_um=1.0)


def test_a_picture_in_one_colour_is_that_colour(tmp_path):
    paths = []
    for name, colour in (("v", 0), ("n", 2)):
        pixels = np.full((*IMAGE.shape[1:], 3), 3, np.uint8)
        pixels[..., colour] = IMAGE[0] // 300
        paths.append(plain(tmp_path / f"{name}.tif", pixels, photometric="rgb"))
    slide = open_slide(*paths, pixel_size_um=1.0)
    assert slide.vessels.name == "red"
    assert slide.nuclei.name.startswith("blue")


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="is a pipe or a device"):
        open_image(tmp_path / "a.tif")


@pytest.mark.skipif(not REAL.is_dir(), reason="the scanner files are not there (../shared/real)")
def test_a_pair_of_hamamatsu_scans_is_tritc_and_dapi_at_its_size():
    slide = open_slide(REAL / "tritc.ndpi", REAL / "dapi.ndpi")
    assert slide.shape == (4864, 3968)
    assert slide.pixel_size_um == pytest.approx(0.2282, abs=1e-3)
    assert len(slide.vessels.planes) == 4
    assert slide.vessels.name == "red"
    assert slide.nuclei.name.startswith("blue")


@pytest.mark.skipif(not REAL.is_dir(), reason="the scanner files are not there (../shared/real)")
@pytest.mark.parametrize(
    ("name", "um"), [("cmu-1-small-region.svs", 0.499), ("os-2-ndpi.ome.tif", 0.227)]
)
def test_other_scanners_files_open_with_their_pixel_size(name, um):
    file = open_image(REAL / name)
    assert file.pixel_size_um == pytest.approx((um, um), abs=1e-3)
    assert len(file.channels) == 3


def test_a_set_is_known_by_all_its_files(tmp_path):
    image = [("all", [(0, "CD31", IMAGE[0]), (1, "DAPI", IMAGE[1])])]
    paths = ome_set(tmp_path, ["c0.ome.tif", "c1.ome.tif"], image)
    slide = open_slide(paths[0])
    assert [one["name"] for one in slide.identity["vessels"]["set"]] == ["c1.ome.tif"]
    slide.check_unchanged()
    changed = [("all", [(0, "CD31", IMAGE[0]), (1, "DAPI", IMAGE[2])])]
    ome_set(tmp_path, ["c0.ome.tif", "c1.ome.tif"], changed)
    with pytest.raises(JobFault, match=r"c1\.ome\.tif was changed or replaced"):
        slide.check_unchanged()


def test_two_files_of_several_positions_give_the_same_position(tmp_path):
    two = IMAGE[:2]
    vessels, nuclei = (
        several_images(tmp_path / f"{name}.ome.tif", [image, image[:, ::-1]], um=(0.5, 0.5))
        for name, image in (("v", two), ("n", two[::-1]))
    )
    slide = open_slide(vessels, nuclei, vessels_channel=0, nuclei_channel=0, image="pos1")
    np.testing.assert_array_equal(slide.vessels.planes[0][ALL], IMAGE[0][::-1])
    np.testing.assert_array_equal(slide.nuclei.planes[0][ALL], IMAGE[1][::-1])
