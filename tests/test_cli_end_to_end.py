"""The command line over the real engine and the bundled model, on small sections."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
import tifffile

from napari_damm import api, cli

SIZE = 200


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    path = tmp_path_factory.mktemp("section") / "section.ome.tif"
    assert cli.main(["simulate", str(path), "--size", str(SIZE), "--seed", "10001"]) == 0
    return path


@pytest.fixture
def out(tmp_path):
    return tmp_path / "result.ome.zarr"


def predict(path, out, *options):
    return cli.main(["predict", str(path), "--out", str(out), "--steps", "2", *options])


def write_tiff(path, *planes, um=1.0):
    options = {}
    if um is not None:
        options = {"PhysicalSizeX": um, "PhysicalSizeY": um}
        options |= {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    names = ["vessels", "nuclei", "other"][: len(planes)]
    metadata = {"axes": "CYX", "Channel": {"Name": names}, **options}
    tifffile.imwrite(path, np.stack(planes), ome=True, metadata=metadata, photometric="minisblack")
    return path


def noise(shape=(SIZE, SIZE), dtype=np.float32):
    return (np.random.default_rng(0).random(shape) * 1000).astype(dtype)


# ---------------------------------------------------------------- what works


def test_the_demo_ends_with_a_section_a_result_and_a_figure(tmp_path, capfd):
    out = tmp_path / "demo"
    assert cli.main(["demo", "--out", str(out), "--size", str(SIZE), "--seed", "10002"]) == 0
    told = capfd.readouterr().out
    assert {p.name for p in out.iterdir()} == {"section.ome.tif", "result.ome.zarr", "figure.png"}
    for word in ("SSIM", "PSNR", "figure.png"):
        assert word in told
    result = api.open_result(out / "result.ome.zarr")
    assert np.isfinite(np.asarray(result.np)).all()


def test_a_simulated_section_is_predicted_from_its_file(section, out, capfd):
    channels = ["--vessels-channel", "vessels", "--nuclei-channel", "nuclei"]
    assert predict(section, out, *channels) == 0
    assert str(out) in capfd.readouterr().out
    result = api.open_result(out)
    size = round(SIZE * 1.0 / result.pixel_size_um)
    assert abs(result.np.shape[0] - size) <= 1
    assert set(np.unique(np.asarray(result.branch))) <= {0, 1, 2}


def test_channels_by_number_and_a_region(section, out):
    region = ["--roi", "20", "30", "120", "190"]
    assert predict(section, out, "--vessels-channel", "0", "--nuclei-channel", "1", *region) == 0
    result = api.open_result(out)
    if result.pixel_size_um == 1.0:
        assert result.np.shape == (100, 160)


def test_colours_of_a_picture_serve_as_channels(tmp_path, out):
    from imageio.v3 import imwrite

    picture = tmp_path / "picture.png"
    imwrite(picture, noise((SIZE, SIZE, 3)).astype(np.uint8))
    colours = ["--vessels-channel", "green", "--nuclei-channel", "blue", "--pixel-size", "1"]
    assert predict(picture, out, *colours) == 0


def test_nuclei_may_have_a_file_of_their_own(tmp_path, out):
    vessels = write_tiff(tmp_path / "v.ome.tif", noise())
    nuclei = write_tiff(tmp_path / "n.ome.tif", noise())
    assert predict(vessels, out, "--nuclei", str(nuclei)) == 0


# ---------------------------------------------------------------- bad input


def no_such_file(folder):
    return [folder / "gone.tif"], "gone.tif"


def no_such_channel(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    return [path, "--vessels-channel", "CD99"], "CD99"


def channel_number_out_of_range(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    return [path, "--vessels-channel", "0", "--nuclei-channel", "7"], "7"


def sizes_that_differ(folder):
    vessels = write_tiff(folder / "v.ome.tif", noise())
    nuclei = write_tiff(folder / "n.ome.tif", noise((SIZE, SIZE // 2)))
    return [vessels, "--nuclei", nuclei], str(SIZE // 2)


def one_channel_only(folder):
    return [write_tiff(folder / "a.ome.tif", noise())], "nuclei"


def no_pixel_size(folder):
    return [write_tiff(folder / "a.ome.tif", noise(), noise(), um=None)], "pixel"


def a_pixel_size_of_zero(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    return [path, "--pixel-size", "0"], "0"


def nan(folder):
    holed = noise()
    holed[50:60, 50:60] = np.nan
    return [write_tiff(folder / "a.ome.tif", holed, noise())], "NaN"


def no_image(folder):
    path = folder / "letter.tif"
    path.write_text("Dear Sir or Madam")
    return [path, "--pixel-size", "1"], "letter.tif"


def a_truncated_tiff(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    path.write_bytes(path.read_bytes()[: SIZE * SIZE * 4])
    return [path], "a.ome.tif"


def an_unknown_model(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    return [path, "--model", "gpt"], "gpt"


def a_file_that_is_no_model(folder):
    path = write_tiff(folder / "a.ome.tif", noise(), noise())
    model = folder / "model.safetensors"
    model.write_text("not a model")
    return [path, "--model", model], "model.safetensors"


BAD = [
    no_such_file,
    no_such_channel,
    channel_number_out_of_range,
    sizes_that_differ,
    one_channel_only,
    no_pixel_size,
    a_pixel_size_of_zero,
    nan,
    no_image,
    a_truncated_tiff,
    an_unknown_model,
    a_file_that_is_no_model,
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.__name__)
def test_bad_input_is_exit_2_with_one_line_and_no_output(case, tmp_path, out, capfd):
    (path, *options), word = case(tmp_path)
    before = set(tmp_path.iterdir())
    assert predict(path, out, *map(str, options)) == 2
    assert_one_line(capfd.readouterr().err, word)
    assert set(tmp_path.iterdir()) == before


def test_cuda_without_cuda_is_bad_input(section, out, capfd, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert predict(section, out, "--device", "cuda") == 2
    assert_one_line(capfd.readouterr().err, "cuda")
    assert not out.exists()


def assert_one_line(stderr, word):
    """Notices may come first; the error is one line."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert len(lines) == 1, stderr
    assert lines[0].startswith("napari-damm: ")
    assert word in lines[0]
    assert "Traceback" not in stderr


def test_ctrl_c_while_denoising_stops_the_engine(section, out, capfd, monkeypatch):
    from napari_damm.cli import progress
    from napari_damm.events import Step

    count = progress._count

    def interrupted(event, tally):
        if isinstance(event, Step):
            signal.raise_signal(signal.SIGINT)
        count(event, tally)

    monkeypatch.setattr(progress, "_count", interrupted)
    assert predict(section, out, "--mode", "reference", "--steps", "1000") == 130
    assert_one_line(capfd.readouterr().err, "--resume")
    assert not [t.name for t in threading.enumerate() if t.name.startswith("napari-damm")]


# ---------------------------------------------------------------- models


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """An empty user directory."""
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "own"))


def test_the_bundled_model_is_listed_and_shown_with_its_checksum(capfd):
    import hashlib

    from napari_damm.model_file import find_model

    assert cli.main(["models", "list"]) == 0
    assert "bundled" in capfd.readouterr().out
    assert cli.main(["models", "show"]) == 0
    told = capfd.readouterr().out
    assert hashlib.sha256(find_model().read_bytes()).hexdigest() in told
    assert "pixel_size_um" in told


def test_a_model_is_exported_imported_and_removed(tmp_path, own_models, capfd):
    copy = tmp_path / "mine.safetensors"
    assert cli.main(["models", "export", "small", str(copy)]) == 0
    assert cli.main(["models", "import", str(copy)]) == 0
    assert cli.main(["models", "list"]) == 0
    listed = capfd.readouterr().out.splitlines()[-1]
    assert listed.startswith("mine ")
    assert "small" not in listed
    assert cli.main(["models", "show", "mine"]) == 0
    assert "name: mine (its card was written as 'small')\n" in capfd.readouterr().out
    assert cli.main(["models", "show", "small"]) == 0
    assert "name: small\n" in capfd.readouterr().out
    assert cli.main(["models", "remove", "mine"]) == 0
    assert cli.main(["models", "show", "mine"]) == 2
    assert copy.exists()


def test_the_bundled_model_cannot_be_removed(own_models, capfd):
    assert cli.main(["models", "remove", "small"]) == 2
    assert_one_line(capfd.readouterr().err, "small")


def test_a_foreign_file_is_not_imported(tmp_path, own_models, capfd):
    foreign = tmp_path / "letter.ckpt"
    foreign.write_text("Dear Sir or Madam")
    assert cli.main(["models", "import", str(foreign)]) == 2
    assert_one_line(capfd.readouterr().err, "letter.ckpt")


def test_an_export_overwrites_nothing(tmp_path, capfd):
    target = tmp_path / "mine.safetensors"
    target.write_text("mine")
    assert cli.main(["models", "export", "small", str(target)]) == 2
    assert_one_line(capfd.readouterr().err, "already exists")
    assert target.read_text() == "mine"
