"""Files as scanners write them, small: what tifffile recognises them by is in their texts."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from image_files import ALL

from napari_damm.slide import open_slide
from napari_damm.slide.readers import open_image

RNG = np.random.default_rng(6)
COLOUR = RNG.integers(0, 256, (600, 800, 3)).astype(np.uint8)
PANEL = RNG.integers(0, 60_000, (3, 600, 800)).astype(np.uint16)
TILE = (256, 256)
APERIO = "Aperio Image Library v12.0.15 \r\n800x600 [0,0 800x600] (256x256) JPEG/RGB Q=70"
QPI = (
    '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription>'
    "<DescriptionVersion>4</DescriptionVersion><ImageType>{kind}</ImageType>{names}"
    "</PerkinElmer-QPI-ImageDescription>"
)


def svs(path, image=COLOUR, mpp="|AppMag = 20|StripeWidth = 2040|MPP = 0.4990|Left = 25.7", **more):
    """Write baseline, thumbnail, one more level, label and macro, in Aperio's order."""
    options = {"photometric": "rgb", "metadata": None, "description": APERIO + mpp} | more
    with tifffile.TiffWriter(path) as tif:
        tif.write(image, tile=TILE, **options)
        tif.write(image[::8, ::8].copy(), **options)
        tif.write(image[::4, ::4].copy(), tile=TILE, **options)
        tif.write(image[:50, :60].copy(), subfiletype=1, **options)
        tif.write(image[:70, :60].copy(), subfiletype=9, **options)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_svs
    return path


def qptiff(path, names, image=PANEL):
    """Write a panel, its thumbnail, its half-size level and a macro, in PerkinElmer's order."""
    size = {"resolution": (20_000, 20_000), "resolutionunit": "centimeter"}
    options = {"software": "PerkinElmer-QPI", "metadata": None, "photometric": "minisblack"} | size

    def write(tif, pixels, kind, name="", **more):
        tif.write(pixels, description=QPI.format(kind=kind, names=name), **options, **more)

    with tifffile.TiffWriter(path) as tif:
        for plane, name in zip(image, names, strict=True):
            write(tif, plane, "FullResolution", name, tile=TILE, compression="zlib")
        write(tif, COLOUR[::8, ::8, 0].copy(), "Thumbnail")
        for plane, name in zip(image, names, strict=True):
            write(tif, plane[::2, ::2].copy(), "ReducedResolution", name, tile=TILE)
        write(tif, COLOUR[:50, :60, 0].copy(), "Overview")
    with tifffile.TiffFile(path) as tif:
        assert tif.is_qpi
    return path


def test_an_aperio_scan_gives_its_baseline_pyramid_colours_and_pixel_size(tmp_path):
    file = open_image(svs(tmp_path / "a.svs"))
    assert file.channels == ("red", "green", "blue")
    assert file.pixel_size_um == (0.499, 0.499)
    for index, (fine, coarse) in enumerate(file.planes):
        np.testing.assert_array_equal(fine[ALL], COLOUR[..., index])
        np.testing.assert_array_equal(coarse[ALL], COLOUR[::4, ::4, index])


def test_an_aperio_scan_in_jpeg_is_decoded_to_colours(tmp_path):
    y, x = np.ix_(np.arange(600) // 4, np.arange(800) // 4)
    image = np.stack(np.broadcast_arrays(y, x, 77), -1).astype(np.uint8)
    path = svs(tmp_path / "a.svs", image, compression="jpeg")
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.photometric == tifffile.PHOTOMETRIC.YCBCR
    for index, (fine, coarse) in enumerate(open_image(path).planes):
        for plane, expected in ((fine, image), (coarse, image[::4, ::4])):
            difference = plane[ALL].astype(int) - expected[..., index]
            assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("mpp", ["", "|MPP = unknown", "|MPP = 0", "|AppMag = 20"])
def test_an_aperio_scan_without_a_pixel_size_asks_for_it(tmp_path, mpp):
    path = svs(tmp_path / "a.svs", mpp=mpp)
    with pytest.raises(ValueError, match=r"a\.svs has no pixel size .*: give pixel_size_um"):
        open_slide(path, vessels_channel="green", nuclei_channel="blue")


def test_a_perkinelmer_panel_gives_biomarkers_levels_and_pixel_size(tmp_path):
    names = [
        "<Name>DAPI</Name>",
        "<Name>Opal 570</Name><Biomarker>CD31</Biomarker>",
        "<Name>Opal 690</Name><Biomarker> </Biomarker>",
    ]
    path = qptiff(tmp_path / "a.qptiff", names)
    file = open_image(path)
    assert file.channels == ("DAPI", "CD31", "Opal 690")
    assert file.pixel_size_um == pytest.approx((0.5, 0.5))
    for (fine, coarse), expected in zip(file.planes, PANEL, strict=True):
        np.testing.assert_array_equal(fine[ALL], expected)
        np.testing.assert_array_equal(coarse[ALL], expected[::2, ::2])
    slide = open_slide(path)
    assert (slide.vessels.name, slide.nuclei.name) == ("CD31", "DAPI")


def test_a_perkinelmer_panel_with_garbled_texts_has_numbered_channels(tmp_path):
    path = qptiff(tmp_path / "a.qptiff", ["<Name>DAPI</Na", "<Biomarker>", "<Name>x</Name>"])
    assert open_image(path).channels == ("0", "1", "x")
