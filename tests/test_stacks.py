from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tifffile
import zarr
from image_files import ALL, IMAGE, ome, ome_zarr, plain

from napari_damm.slide import StackSize, open_slide, stack_size
from napari_damm.slide.readers import open_image

RNG = np.random.default_rng(3)
SIZES = {"t": 2, "z": 3, "c": 2}
STACK = RNG.integers(0, 60_000, (2, 3, 2, 48, 64)).astype(np.uint16)  # t z c y x
NAMES = ("CD31", "DAPI")


def ordered(axes):
    """Return the stack with its leading axes in this order; those left out have length one."""
    index = tuple(slice(None) if axis in axes else 0 for axis in "tzc")
    left = [axis for axis in "tzc" if axis in axes]
    image = STACK[index]
    return np.moveaxis(image, [left.index(axis) for axis in axes], range(len(axes)))


def ome_tiff(path, axes, levels=1, **options):
    metadata = {"axes": f"{axes.upper()}YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if "c" in axes:
        metadata["Channel"] = {"Name": list(NAMES)}
    image = ordered(axes)
    options = {"photometric": "minisblack"} | options
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(image, subifds=levels - 1, metadata=metadata, **options)
        for level in range(1, levels):
            small = image[..., :: 2**level, :: 2**level]
            tif.write(small, subfiletype=1, **options)
    return path


def imagej(path, **options):
    metadata = {"axes": "TZCYX", "unit": "um", "Labels": list(NAMES) * 6}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(2, 2), metadata=metadata, **options)
    return path


def zarr_stack(path, axes, version="0.5"):
    units = {"z": {"unit": "micrometer"}, "t": {"unit": "second"}}
    named = [{"name": axis} | units.get(axis, {}) for axis in axes]
    named += [{"name": axis, "unit": "micrometer"} for axis in "yx"]
    return ome_zarr(path, version, ordered(axes), NAMES, axes=named)


WRITERS = {
    **{f"OME-TIFF {axes}": lambda p, a=axes: ome_tiff(p, a) for axes in ("tzc", "ctz", "zct")},
    "OME-TIFF pyramid": lambda p: ome_tiff(p, "tzc", 3, tile=(16, 16), compression="zlib"),
    "OME-TIFF compressed": lambda p: ome_tiff(p, "ztc", compression="zlib"),
    "ImageJ": imagej,
    "ImageJ one directory": lambda p: imagej(p, truncate=True),
    "OME-Zarr 0.4": lambda p: zarr_stack(p, "tcz", "0.4"),
    "OME-Zarr 0.5": lambda p: zarr_stack(p, "tzc"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_plane_of_every_kind_of_stack_is_the_right_one(tmp_path, write):
    path = write(tmp_path / "a.tif")
    assert stack_size(path) == StackSize(z=3, t=2)
    for t, z in itertools.product(range(2), range(3)):
        file = open_image(path, z=z, t=t)
        assert file.channels == NAMES
        assert file.stack == StackSize(3, 2)
        for channel, expected in zip(file.planes, STACK[t, z], strict=True):
            for level, plane in enumerate(channel):
                np.testing.assert_array_equal(plane[ALL], expected[:: 2**level, :: 2**level])


def test_a_pyramid_has_its_levels_in_every_plane(tmp_path):
    path = WRITERS["OME-TIFF pyramid"](tmp_path / "a.tif")
    assert [len(channel) for channel in open_image(path, 1, 1).planes] == [3, 3]


def test_colours_of_a_stack_are_channels(tmp_path):
    image = RNG.integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    path = plain(tmp_path / "a.tif", image, photometric="rgb", metadata={"axes": "ZYXS"}, ome=True)
    file = open_image(path, z=2)
    assert file.channels == ("red", "green", "blue")
    for index, (plane,) in enumerate(file.planes):
        np.testing.assert_array_equal(plane[ALL], image[2, ..., index])


def test_levels_of_a_pyramid_of_volumes_are_not_mistaken_for_the_plane(tmp_path):
    path = zarr_stack(tmp_path / "a.zarr", "zc")
    coarse = STACK[0, ::2, :, ::2, ::2]  # Two of three z planes are left.
    group = zarr.open_group(path, mode="a")
    group.create_array("1", data=coarse, chunks=(1, 1, 64, 64), overwrite=True)
    file = open_image(path, z=1)
    assert len(file.planes[0]) == 1
    np.testing.assert_array_equal(file.planes[1][0][ALL], STACK[0, 1, 1])


def test_labels_that_differ_along_the_stack_name_no_channel(tmp_path):
    labels = [f"c:{c} z:{z}" for z in range(6) for c in range(2)]
    metadata = {"axes": "TZCYX", "Labels": labels}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata=metadata)
    assert open_image(tmp_path / "a.tif", 0, 0).channels == ("0", "1")


@pytest.mark.parametrize("write", [WRITERS["OME-TIFF tzc"], WRITERS["OME-Zarr 0.5"]])
def test_a_stack_without_an_index_says_how_to_give_one(tmp_path, write):
    path = write(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has 3 z planes: choose one with z$"):
        open_slide(path)
    with pytest.raises(ValueError, match=r"2 time points: choose one with t$"):
        open_slide(path, z=0)


@pytest.mark.parametrize("z", [3, -1])
def test_an_index_out_of_range_says_the_range(tmp_path, z):
    path = ome_tiff(tmp_path / "a.tif", "zc")
    refusal = rf"a\.tif has 3 z planes and no number {z}: choose one of 0\.\.2 with z$"
    with pytest.raises(ValueError, match=refusal):
        open_slide(path, z=z)


def test_what_is_no_stack_takes_no_index_but_zero(tmp_path):
    path = ome_tiff(tmp_path / "a.tif", "c")
    assert stack_size(path) == StackSize(1, 1)
    assert open_slide(path, z=0, t=0).identity == open_slide(path).identity
    assert "z" not in open_slide(path).identity["vessels"]
    for index in ({"z": 1}, {"t": 1}):
        with pytest.raises(ValueError, match=r"a\.tif does not have several .*: leave out [zt]$"):
            open_slide(path, **index)


def test_name_and_identity_tell_planes_apart(tmp_path):
    path = ome_tiff(tmp_path / "a.ome.tif", "zc")
    slides = [open_slide(path, z=z) for z in range(3)]
    assert [slide.name for slide in slides] == ["a.ome.tif z0", "a.ome.tif z1", "a.ome.tif z2"]
    assert [slide.identity["nuclei"]["z"] for slide in slides] == [0, 1, 2]
    assert "t" not in slides[0].identity["vessels"]
    assert json.loads(json.dumps(slides[1].identity)) == slides[1].identity
    both = open_slide(ome_tiff(path, "tzc"), z=np.int64(2), t=1)
    assert both.name == "a.ome.tif z2 t1"
    assert json.loads(json.dumps(both.identity)) == both.identity


def test_two_stacks_take_the_same_index(tmp_path):
    image = STACK[0, :, 0]
    for name, pixels in (("v", image), ("n", image[::-1])):
        plain(tmp_path / f"{name}.tif", pixels, metadata={"axes": "ZYX"}, ome=True)
    slide = open_slide(tmp_path / "v.tif", tmp_path / "n.tif", pixel_size_um=0.5, z=2)
    np.testing.assert_array_equal(slide.vessels.planes[0][ALL], image[2])
    np.testing.assert_array_equal(slide.nuclei.planes[0][ALL], image[0])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_that_is_no_stack_goes_with_every_plane_of_the_other(tmp_path, swapped):
    plain(tmp_path / "s.tif", STACK[0, :, 0], metadata={"axes": "ZYX"}, ome=True)
    plain(tmp_path / "p.tif", STACK[0, 0, 1])
    files = (tmp_path / "p.tif", tmp_path / "s.tif")
    vessels, nuclei = files if swapped else files[::-1]
    assert stack_size(vessels, nuclei) == StackSize(3, 1)
    for z in range(3):
        slide = open_slide(vessels, nuclei, pixel_size_um=0.5, z=z)
        stack, plane = (slide.nuclei, slide.vessels) if swapped else (slide.vessels, slide.nuclei)
        np.testing.assert_array_equal(stack.planes[0][ALL], STACK[0, z, 0])
        np.testing.assert_array_equal(plane.planes[0][ALL], STACK[0, 0, 1])
        assert slide.name.endswith(f".tif z{z}")
        roles = [role for role in ("vessels", "nuclei") if "z" in slide.identity[role]]
        assert roles == ["nuclei" if swapped else "vessels"]


def test_stacks_of_different_sizes_are_refused(tmp_path):
    for name, planes in (("v", 3), ("n", 2)):
        path = tmp_path / f"{name}.tif"
        plain(path, STACK[0, :planes, 0], metadata={"axes": "ZYX"}, ome=True)
    files = (tmp_path / "v.tif", tmp_path / "n.tif")
    for look in (lambda: stack_size(*files), lambda: open_slide(*files, pixel_size_um=1.0, z=0)):
        with pytest.raises(ValueError, match=r"v\.tif has 3 z planes and .*n\.tif has 2: give two"):
            look()


def test_the_size_of_a_stack_is_told_without_decoding(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("pixels were decoded")

    for module in (
        "tiff_sources.SegmentSource.load",
        "planes.ArraySource.load",
        "pictures._decode",
    ):
        monkeypatch.setattr(f"napari_damm.slide.{module}", refuse)
    assert stack_size(WRITERS["OME-TIFF pyramid"](tmp_path / "a.tif")) == StackSize(3, 2)
    assert stack_size(WRITERS["OME-Zarr 0.5"](tmp_path / "a.zarr")) == StackSize(3, 2)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n...")
    assert stack_size(tmp_path / "a.png", ome(tmp_path / "b.tif", IMAGE)) == StackSize(1, 1)


def test_a_stack_that_broke_off_is_refused_whichever_plane_is_asked_for(tmp_path):
    whole = WRITERS["OME-TIFF compressed"](tmp_path / "a.tif").read_bytes()
    for length in np.linspace(len(whole) // 2, len(whole) - 1, 12).astype(int):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with pytest.raises((OSError, ValueError), match=r"a\.tif .*: copy"):
            open_slide(tmp_path / "a.tif", z=0, t=0)
