"""Pixels of more than 25 um are refused as a slip, and taken where it is said that they are meant.

The refusal names an option: every command that takes a pixel size has it.
"""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import typer
from jobs import make_with_expected_map
from training_data import images, write_folder

from napari_damm import api, cli
from napari_damm.cli.commands import app
from napari_damm.dataset import open_sections
from napari_damm.dataset.sources import source_from_dict, source_to_dict
from napari_damm.widgets.train.request import FolderData


def write_planes(path):
    planes = np.stack(list(images((64, 64)).values()))
    tifffile.imwrite(path, planes, photometric="minisblack")


@pytest.mark.parametrize("kind", [api.FolderSource, api.SlideSource])
def test_training_data_of_coarse_pixels_are_refused_until_they_are_meant(tmp_path, kind):
    path, channels = write_folder(tmp_path / "patches", 2, 64), {}
    if kind is api.SlideSource:
        path = tmp_path / "section.tif"
        write_planes(path)
        channels = dict(zip(("primary", "secondary", "target"), range(3), strict=True))
        channels = {f"{role}_channel": number for role, number in channels.items()}
    source = kind(path, pixel_size_um=1000, **channels)
    with pytest.raises(ValueError, match="or coarse_pixels=True if it is meant"):
        list(open_sections(source))
    meant = source_from_dict({**source_to_dict(source), "coarse_pixels": True})
    assert next(open_sections(meant)).slide.pixel_size_um == 1000


def test_the_widget_asks_before_it_starts_and_then_they_are_meant(tmp_path):
    folder = write_folder(tmp_path, 2, 64)
    source = FolderData(folder, "CD31", "DAPI", "QD", 1000.0).source()
    assert next(open_sections(source)).slide.pixel_size_um == 1000


def test_a_result_of_coarse_pixels_is_analyzed_without_being_told_again(tmp_path, monkeypatch):
    monkeypatch.chdir(make_with_expected_map(tmp_path))
    model = ["--model", "tiny.safetensors"]
    said = ["--pixel-size", "30", "--coarse-pixels", "--roi", "0", "0", "30", "30"]
    assert cli.main(["predict", "section.ome.tif", "--out", "r.ome.zarr", *model, *said]) == 0
    assert cli.main(["analyze", "r.ome.zarr", "--out", "numbers"]) == 0


def test_a_picture_of_coarse_pixels_is_analyzed_where_they_are_meant(tmp_path, capsys):
    path = tmp_path / "section.tif"
    write_planes(path)
    out = str(tmp_path / "numbers")
    roles = ["--vessels-channel", "0", "--nuclei-channel", "1", "--particles-channel", "2"]
    command = ["analyze", str(path), "--pixel-size", "30", "--out", out, *roles]
    assert cli.main(command) == 2
    assert "or --coarse-pixels if it is meant" in capsys.readouterr().err
    assert cli.main([*command, "--coarse-pixels"]) == 0


def test_every_command_that_takes_a_pixel_size_takes_coarse_ones():
    commands = typer.main.get_command(app).commands
    taken = {
        name: {option for each in command.params for option in each.opts}
        for name, command in commands.items()
    }
    with_size = {name for name, options in taken.items() if "--pixel-size" in options}
    assert with_size == {"predict", "train", "evaluate", "calibrate", "analyze"}
    assert all("--coarse-pixels" in taken[name] for name in with_size)
