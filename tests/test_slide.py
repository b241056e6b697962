from __future__ import annotations

import json
import pickle

import dask.array as da
import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from napari_damm.simulate import simulate_slide, write_section
from napari_damm.slide import (
    Slide,
    find_channel,
    guess_channel,
    open_slide,
    read_region,
    slide_from_arrays,
)
from napari_damm.slide.raster import Raster
from napari_damm.util.tiling import Box

RNG = np.random.default_rng(1)
V, N, Q = RNG.integers(0, 4000, (3, 90, 110)).astype(np.uint16)


def ome(path, channels, um=0.5, y_um=None):
    metadata = {"axes": "CYX", "Channel": {"Name": list(channels)}}
    if um is not None:
        metadata |= {"PhysicalSizeX": um, "PhysicalSizeY": um if y_um is None else y_um}
    image = np.stack(list(channels.values()))
    tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata, ome=True)
    return path


def picture(path, *channels):
    image = np.stack(channels, -1) if len(channels) > 1 else channels[0].copy()
    path.write_bytes(imagecodecs.png_encode((image >> 4).astype(np.uint8)))
    return path


def pixels(raster):
    return np.asarray(raster.levels[0].compute())


def test_channels_are_found_by_name_in_any_case_and_by_number(tmp_path):
    path = ome(tmp_path / "a.ome.tif", {"CD31": V, "DAPI": N, "QD": Q})
    for vessels, nuclei in (("cd31", "dapi"), (0, 1), ("0", "1"), (None, None), ("CD31", 1)):
        slide = open_slide(path, vessels_channel=vessels, nuclei_channel=nuclei)
        np.testing.assert_array_equal(pixels(slide.vessels), V)
        np.testing.assert_array_equal(pixels(slide.nuclei), N)
    np.testing.assert_array_equal(pixels(slide.channel("qd")), Q)
    assert slide.pixel_size_um == 0.5
    assert slide.shape == (90, 110)
    assert slide.origin == (0.0, 0.0)
    assert slide.name == "a.ome.tif"


def test_a_name_of_digits_goes_before_a_number():
    assert find_channel(["405", "0"], "0", "a") == 1
    assert find_channel(["405", "488"], "1", "a") == 1


@pytest.mark.parametrize("wanted", ["GFP", 3, -1, "3"])
def test_no_such_channel_lists_those_there_are(tmp_path, wanted):
    path = ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N, "QD": Q})
    with pytest.raises(ValueError, match=r"no channel .* in .*a\.tif: .*0: CD31, 1: DAPI, 2: QD"):
        open_slide(path, vessels_channel=wanted)


def test_two_channels_of_one_name_are_told_apart_by_number():
    with pytest.raises(ValueError, match="2 channels called 'DAPI': give its number, one of 1, 2"):
        find_channel(["CD31", "DAPI", "dapi"], "DAPI", "a.tif")


@pytest.mark.parametrize(
    ("names", "role", "index"),
    [
        (["nuclei", "vessels"], "vessels", 1),
        (["DAPI-T3", "Cy5 CD31"], "vessels", 1),
        (["Hoechst 33342", "lectin"], "nuclei", 0),
        (["lectin", "CD31"], "vessels", 1),
        (["red", "green", "blue"], "nuclei", 2),
        (["red", "green", "blue"], "vessels", None),
        (["DAPI 1", "DAPI 2"], "nuclei", None),
        (["Galectin-3", "GFP", "DAPI"], "vessels", None),
        (["E-Selectin", "tomato-lectin", "DAPI"], "vessels", 1),
        (["CD340", "GFP", "DAPI"], "vessels", None),
        (["CD310", "CD31-488", "DAPI"], "vessels", 1),
        (["Mononuclear cells", "CD31"], "nuclei", None),
        (["Mononuclear cells", "nuclear stain"], "nuclei", 1),
    ],
)
def test_usual_names_are_recognised(names, role, index):
    assert guess_channel(names, role) == index


def test_of_two_channels_the_other_one_is_meant(tmp_path):
    slide = open_slide(ome(tmp_path / "a.tif", {"Cy5": V, "DAPI": N}))
    np.testing.assert_array_equal(pixels(slide.vessels), V)


def test_what_cannot_be_guessed_is_asked_for(tmp_path):
    path = picture(tmp_path / "a.png", V, N, Q)
    with pytest.raises(ValueError, match=r"shows the vessels: give vessels_channel, .*0: red"):
        open_slide(path, pixel_size_um=0.5)


def test_one_channel_for_both_is_refused(tmp_path):
    path = ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N, "QD": Q})
    with pytest.raises(ValueError, match="same channel 'DAPI'"):
        open_slide(path, vessels_channel="DAPI")


def test_one_channel_only_asks_for_the_nuclei(tmp_path):
    with pytest.raises(ValueError, match="one channel only: give nuclei"):
        open_slide(picture(tmp_path / "a.png", V), pixel_size_um=0.5)


def test_two_files_of_one_channel_each_need_no_names(tmp_path):
    vessels, nuclei = picture(tmp_path / "v.png", V), picture(tmp_path / "n.png", N)
    slide = open_slide(vessels, nuclei, pixel_size_um=0.5)
    np.testing.assert_array_equal(pixels(slide.nuclei), N >> 4)
    assert slide.nuclei.pixel_size_um == 0.5
    assert [c.name for c in slide.channels] == ["grey", "grey (n.png)"]


def test_two_files_of_several_channels(tmp_path):
    vessels = ome(tmp_path / "v.tif", {"CD31": V, "other": Q})
    nuclei = ome(tmp_path / "n.tif", {"other": Q, "DAPI": N})
    slide = open_slide(vessels, nuclei, nuclei_channel="dapi")
    np.testing.assert_array_equal(pixels(slide.vessels), V)
    np.testing.assert_array_equal(pixels(slide.nuclei), N)


def test_files_of_one_field_may_differ_in_pixel_size(tmp_path):
    vessels = ome(tmp_path / "v.tif", {"CD31": V}, um=0.5)
    nuclei = ome(tmp_path / "n.tif", {"DAPI": N[:45, :55]}, um=1.0)
    assert open_slide(vessels, nuclei).nuclei.pixel_size_um == 1.0
    assert open_slide(vessels, nuclei, pixel_size_um=0.5).nuclei.pixel_size_um == 1.0


@pytest.mark.parametrize(("shape", "um"), [((90, 100), 0.5), ((45, 55), 0.5), ((90, 110), 1.0)])
def test_sizes_that_differ_are_refused_naming_both(tmp_path, shape, um):
    vessels = ome(tmp_path / "v.tif", {"CD31": V}, um=0.5)
    nuclei = ome(tmp_path / "n.tif", {"DAPI": N[: shape[0], : shape[1]]}, um=um)
    sizes = rf"90 x 110 px of 0\.5 um and .*{shape[0]} x {shape[1]} px of {um:g} um"
    with pytest.raises(ValueError, match=rf"sizes differ, .*{sizes}: give two images"):
        open_slide(vessels, nuclei)


def test_no_pixel_size_asks_for_one(tmp_path):
    path = picture(tmp_path / "a.png", V, N, Q)
    with pytest.raises(ValueError, match=r"a\.png has no pixel size .*: give pixel_size_um"):
        open_slide(path, vessels_channel="green", nuclei_channel="blue")


def test_a_given_pixel_size_overrides_the_file(tmp_path):
    slide = open_slide(ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N}), pixel_size_um=0.25)
    assert slide.vessels.pixel_size_um == slide.nuclei.pixel_size_um == 0.25


@pytest.mark.parametrize("um", [0.0, -0.5, float("nan"), float("inf"), 1e-6, 1e6])
def test_absurd_pixel_sizes_are_refused(tmp_path, um):
    path = ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N})
    with pytest.raises(ValueError, match=r"must be in .* um, got .*: give pixel_size_um"):
        open_slide(path, pixel_size_um=um)


def test_oblong_pixels_are_refused_nearly_square_ones_not(tmp_path):
    path = ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N}, um=0.5, y_um=0.6)
    with pytest.raises(ValueError, match=r"must be square, got 0\.6 x 0\.5 um"):
        open_slide(path)
    path = ome(tmp_path / "b.tif", {"CD31": V, "DAPI": N}, um=0.5, y_um=0.5004)
    assert open_slide(path).pixel_size_um == pytest.approx(0.5002, abs=1e-4)


@pytest.mark.parametrize("dtype", [bool, np.complex64])
def test_what_is_not_an_intensity_is_refused(dtype):
    with pytest.raises(ValueError, match=r"channel 'vessels' is (a mask|complex).*: give an image"):
        slide_from_arrays({"vessels": V.astype(dtype), "nuclei": N}, 0.5)


@pytest.mark.parametrize("image", [V[None], V[:0], V[0]], ids=["3-D", "empty", "1-D"])
def test_what_is_not_a_picture_is_refused(image):
    with pytest.raises(ValueError, match="must be 2-D"):
        slide_from_arrays({"vessels": image, "nuclei": N}, 0.5)


def test_arrays_of_all_kinds_make_the_same_slide(tmp_path):
    lazy = da.from_array(V, chunks=(32, 40))
    stored = zarr.create_array(tmp_path / "v.zarr", data=V, chunks=(64, 64))
    box = (slice(10, 77), slice(20, 100))
    for vessels in (V, lazy, stored, [V, V[::2, ::2]]):
        slide = slide_from_arrays({"vessels": vessels, "nuclei": N}, 0.5)
        np.testing.assert_array_equal(slide.vessels.planes[0][box], V[box])
        np.testing.assert_array_equal(pixels(slide.vessels), V)
    assert len(slide.vessels.levels) == 2


def test_channels_may_have_their_own_pixel_size_and_place():
    slide = slide_from_arrays(
        {"a": V, "b": N},
        pixel_size_um={"a": 0.5, "b": (1.0, 1.0)},
        origin={"a": (1.0, 2.0), "b": (-3.0, 0.0)},
        vessels="a",
        nuclei="B",
    )
    assert (slide.pixel_size_um, slide.origin) == (0.5, (1.0, 2.0))
    assert (slide.nuclei.pixel_size_um, slide.nuclei.origin) == (1.0, (-3.0, 0.0))


def test_channels_that_do_not_overlap_are_refused():
    with pytest.raises(ValueError, match=r"do not overlap: y runs over 0\.\.45 um .* 45\.\.90 um"):
        slide_from_arrays(
            {"vessels": V, "nuclei": N}, 0.5, {"vessels": (0.0, 0.0), "nuclei": (45.0, 0.0)}
        )


def test_levels_must_go_from_fine_to_coarse():
    with pytest.raises(ValueError, match="from fine to coarse"):
        slide_from_arrays({"vessels": [V[::2, ::2], V], "nuclei": N}, 0.5)


@pytest.mark.parametrize(
    ("lengths", "factors"),
    [
        ([1000, 500, 250, 125, 62, 31, 15], [1, 2, 4, 8, 16, 32, 64]),
        ([1001, 501, 251, 126, 63, 32], [1, 2, 4, 8, 16, 32]),
        ([900, 300, 100], [1, 3, 9]),
        ([1000, 666], [1, 1000 / 666]),
    ],
)
def test_level_sizes_see_through_rounding(lengths, factors):
    planes = tuple(np.zeros((n, max(1, n // 10)), np.uint8) for n in lengths)
    sizes = Raster("a", planes, 0.5).level_pixel_um
    assert [y for y, _ in sizes] == pytest.approx([0.5 * f for f in factors])


def test_identity_of_files_notices_a_change_and_is_json(tmp_path):
    path = ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N})
    before = open_slide(path).identity
    assert json.loads(json.dumps(before)) == before
    assert open_slide(path).identity == before
    assert before["vessels"]["path"] == str(path)
    assert before["vessels"]["size"] == path.stat().st_size
    assert before["vessels"]["channel"] == "CD31"
    ome(path, {"CD31": V + 1, "DAPI": N})
    assert open_slide(path).identity["vessels"]["sha256_ends"] != before["vessels"]["sha256_ends"]


def test_identity_of_a_directory_sums_its_files(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=np.stack([V, N]), chunks=(1, 64, 64))
    axes = [{"name": "c"}] + [{"name": n, "unit": "micrometer"} for n in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    found = open_slide(tmp_path / "a.zarr", vessels_channel=0).identity["nuclei"]
    files = [f for f in (tmp_path / "a.zarr").rglob("*") if f.is_file()]
    assert found["size"] == sum(f.stat().st_size for f in files)
    assert found["channel"] == "1"


def test_identity_of_arrays_is_their_content():
    def hashed(vessels):
        return slide_from_arrays({"vessels": vessels, "nuclei": N}, 0.5).identity

    changed = V.copy()
    changed[-1, -1] += 1
    expected = hashed(V)
    assert json.loads(json.dumps(expected)) == expected
    assert hashed(da.from_array(V, chunks=(7, 13))) == expected
    assert hashed(changed) != expected
    assert hashed(V.astype(np.float32)) != expected


def test_identity_of_huge_arrays_is_sampled_and_says_so(monkeypatch):
    monkeypatch.setattr("napari_damm.slide.identity.LARGEST_HASHED_PIXELS", 5000)
    monkeypatch.setattr("napari_damm.slide.identity.SAMPLE_SIDE", 16)
    entry = slide_from_arrays({"vessels": [V, V[::2, ::2]], "nuclei": N}, 0.5).identity["vessels"]
    assert entry["hashed"] == "coarsest level and samples"


def test_arrays_are_not_read_before_their_identity_is_asked_for():
    reads = []

    def load(block):
        reads.append(1)
        return block

    lazy = da.from_array(V, chunks=50).map_blocks(load, dtype=V.dtype, meta=V[:0, :0])
    slide = slide_from_arrays({"vessels": lazy, "nuclei": N}, 0.5)
    assert not reads
    _ = slide.identity
    assert reads


def test_an_opened_slide_can_be_sent_to_another_process(tmp_path):
    slide = open_slide(ome(tmp_path / "a.tif", {"CD31": V, "DAPI": N}))
    copy: Slide = pickle.loads(pickle.dumps(slide))
    box, shape = Box(-5, 3, 40, 60), (90, 110)
    for role in ("vessels", "nuclei"):
        ours, theirs = (
            read_region(getattr(s, role), box, 0.5, s.origin, shape) for s in (slide, copy)
        )
        np.testing.assert_array_equal(ours, theirs)
    assert copy.identity == slide.identity


@pytest.mark.parametrize(
    "index",
    [
        np.s_[::2, ::2],
        np.s_[3],
        np.s_[-1, 5],
        np.s_[::-1, 4:30:3],
        np.s_[10:40:7, ::-3],
        np.s_[5:5],
    ],
    ids=str,
)
def test_lazy_pixels_of_a_file_answer_any_numpy_index(tmp_path, index):
    section = simulate_slide(64, 3)
    path = write_section(section, tmp_path / "s.ome.tif")
    lazy = open_slide(path).vessels.levels[0]
    assert np.array_equal(np.asarray(lazy[index]), section.vessels[index])
