"""What was given on the command line, as sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_damm.cli.data_options import DataOptions
from napari_damm.dataset import FolderSource, SimulatedSource, SlideSource


@pytest.fixture
def folder(tmp_path):
    for name in ("CD31", "DAPI", "QD"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return tmp_path / "data"


def sources(first_seed=0, **options):
    return DataOptions(**options).sources(first_seed)


def test_a_file_is_a_slide_with_its_options():
    (source,) = sources(
        inputs=[Path("a.tif")],
        vessels_channel="CD31",
        nuclei_channel="1",
        target_channel="QD",
        nuclei=Path("n.tif"),
        target=Path("t.tif"),
        pixel_size=0.5,
        roi=(1, 2, 3, 4),
    )
    assert source == SlideSource(
        path=Path("a.tif"),
        primary_channel="CD31",
        secondary_channel=1,
        target_channel="QD",
        secondary=Path("n.tif"),
        target=Path("t.tif"),
        pixel_size_um=0.5,
        roi=(1.0, 2.0, 3.0, 4.0),
    )


def test_a_folder_with_three_sub_folders_is_a_folder_source(folder):
    assert sources(inputs=[folder], pixel_size=0.5) == [FolderSource(folder, pixel_size_um=0.5)]


def test_sub_folders_may_have_other_names(tmp_path):
    for name in ("T1", "T2", "F"):
        (tmp_path / name).mkdir()
    (source,) = sources(inputs=[tmp_path], folders="T1, T2,F")
    assert source == FolderSource(tmp_path, "T1", "T2", "F")


@pytest.mark.parametrize("mark", ["zarr.json", ".zattrs"])
def test_an_ome_zarr_is_a_slide(tmp_path, mark):
    (tmp_path / mark).write_text("{}")
    (source,) = sources(inputs=[tmp_path])
    assert isinstance(source, SlideSource)


def test_any_other_folder_is_left_to_the_folder_source_which_says_what_it_lacks(tmp_path):
    (source,) = sources(inputs=[tmp_path])
    assert isinstance(source, FolderSource)


def test_simulated_sections_begin_where_the_command_says_unless_told():
    (source,) = sources(first_seed=10_000, simulated=3)
    assert source == SimulatedSource(3, 1024, "internal", 10_000)
    (source,) = sources(
        first_seed=10_000,
        simulated=3,
        simulated_preset="external",
        simulated_size=512,
    )
    assert source == SimulatedSource(3, 512, "external", 10_000)
    assert DataOptions(simulated=1, first_seed=5).sources(0)[0].first_seed == 5


def test_any_mix_goes(folder):
    found = sources(inputs=[Path("a.tif"), folder, Path("b.tif")], simulated=2)
    assert [type(source).__name__ for source in found] == [
        "SlideSource",
        "FolderSource",
        "SlideSource",
        "SimulatedSource",
    ]


A, B = Path("a.tif"), Path("b.tif")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give sections to work on"),
        ({"inputs": [A, B], "nuclei": A}, "--nuclei goes with one INPUT, got 2"),
        ({"inputs": [A, B], "target": A}, "--target goes with one INPUT, got 2"),
        ({"simulated": 1, "roi": (0, 0, 9, 9)}, "--roi goes with one INPUT, got 0"),
        ({"simulated": 1, "vessels_channel": "x"}, "--vessels-channel goes with a file"),
        ({"inputs": [A], "folders": "a,b,c"}, "--folders goes with a folder"),
        ({"inputs": [A], "simulated_size": 64}, "--simulated-size goes with --simulated N"),
        ({"inputs": [A], "simulated_preset": "x"}, "--simulated-preset goes with"),
        ({"inputs": [A], "first_seed": 3}, "--first-seed goes with --simulated N"),
        ({"simulated": -1}, "sections must be a whole number of 1 or more, got -1"),
        ({"inputs": [Path()], "folders": "a,b"}, "three different names"),
        ({"inputs": [Path()], "folders": "a,b,b"}, "three different names"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        DataOptions(**options).sources(0)


def test_options_of_files_are_refused_for_a_folder(folder):
    with pytest.raises(ValueError, match="--target-channel goes with a file as INPUT"):
        sources(inputs=[folder], target_channel="QD")
