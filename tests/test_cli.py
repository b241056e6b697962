"""The command line over a made-up engine; `test_cli_end_to_end.py` runs the real one."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_damm import api, cli
from napari_damm.events import FailedItem, Finished, Notice, Planned, ShardDone, Step, Tile


def fake_job(*, during=None, failed=(), shards_before=0):
    """Make a stand-in for `api.predict` that creates its store, works a little, and may fail."""
    calls = []

    def predict(slide, model, config=None, store=None, client=None, resume=False):
        calls.append(
            SimpleNamespace(slide=slide, model=model, config=config, store=store, resume=resume)
        )
        yield Notice("loading the model")
        store.mkdir()
        (store / "zarr.json").write_text("{}")
        yield Planned((256, 448), 2.0, (0.0, 0.0), 2, 1, 1, 3, {}, None)
        for number in range(shards_before):
            yield ShardDone(0, number, number + 1, 2)
        if during is not None:
            raise during
        for number, branch in ((1, 1), (2, 2)):
            yield Step(number, 2)
            cells = np.full((8, 7), branch, np.uint8)
            yield Tile(0, 0, np.zeros((256, 224), np.float32), 0, 0, cells / 2.0, cells, number, 2)
        for item in failed:
            yield FailedItem(item, "read error")
        yield Finished(result=None, seconds=1.25, failed=tuple(failed))

    predict.calls = calls
    return predict


@pytest.fixture
def slide(monkeypatch):
    """Make `api.open_slide` record how it is called."""
    asked = {}

    def open_slide(path, **options):
        asked.update(options, path=path)
        return "a slide"

    monkeypatch.setattr(api, "open_slide", open_slide)
    return asked


@pytest.fixture
def out(tmp_path):
    return tmp_path / "result.ome.zarr"


def stderr_lines(capfd):
    return capfd.readouterr().err.splitlines()


def assert_one_line(capfd, *words):
    lines = stderr_lines(capfd)
    assert len(lines) == 1, lines
    assert lines[0].startswith("napari-damm: ")
    for word in words:
        assert str(word) in lines[0]


# ---------------------------------------------------------------- usage


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([], "Missing command"),
        (["paint"], "paint"),
        (["predict"], "INPUT"),
        (["predict", "a.tif"], "--out"),
        (["predict", "a.tif", "--out", "r.ome.zarr", "--bogus"], "--bogus"),
        (["predict", "a.tif", "--out", "r.ome.zarr", "--steps", "many"], "--steps"),
        (["predict", "a.tif", "--out", "r.ome.zarr", "--roi", "0", "0", "9"], "--roi"),
        (["predict", "a.tif", "--out", "result.tif"], "result.tif"),
        (["simulate", "section.png"], ".ome.tif"),
        (["simulate", "s.ome.tif", "--size", "3"], "3"),
        (["simulate", "s.ome.tif", "--preset", "lunar"], "lunar"),
        (["simulate", "nowhere/s.ome.tif"], "nowhere"),
        (["models"], "Missing command"),
        (["models", "show", "no-such-model"], "no-such-model"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(args, word, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(args) == 2
    assert_one_line(capfd, word)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("99999999", "px or less a side"),
        ("1" + "0" * 30, "px or less a side"),
        ("30000", "of memory and 1.0 GB are free: choose a smaller --size"),
    ],
)
@pytest.mark.parametrize("command", [["simulate", "s.ome.tif"], ["demo", "--out", "demo"]])
def test_a_section_that_memory_cannot_hold_is_refused(
    command, size, words, capfd, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    free = SimpleNamespace(available=10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert cli.main([*command, "--size", size]) == 2
    assert_one_line(capfd, size, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [["--help"], ["predict"], ["nonsense"], ["--version"]])
def test_help_and_usage_errors_load_no_heavy_modules(args):
    code = (
        "import sys; from napari_damm.cli import main; main(sys.argv[1:]);"
        "print(sorted({'torch', 'scipy', 'zarr', 'dask', 'napari'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s(capfd):
    import napari_damm

    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out == f"napari-damm {napari_damm.__version__}\n"


# ---------------------------------------------------------------- predict


def test_every_option_reaches_the_engine(slide, out, monkeypatch, tmp_path):
    job = fake_job()
    monkeypatch.setattr(api, "predict", job)
    nuclei = tmp_path / "dapi.tif"
    args = ["predict", "cd31.tif", "--nuclei", str(nuclei), "--out", str(out)]
    args += ["--vessels-channel", "CD31", "--nuclei-channel", "2", "--pixel-size", "0.65"]
    args += ["--model", "mine", "--mode", "draft", "--steps", "5", "--seed", "7"]
    args += ["--device", "cpu", "--roi", "10", "20", "300", "400"]
    assert cli.main(args) == 0
    assert Path(slide.pop("path")) == Path("cd31.tif")
    assert slide == {
        "nuclei": nuclei,
        "vessels_channel": "CD31",
        "nuclei_channel": 2,
        "pixel_size_um": 0.65,
        "image": None,
        "coarse_pixels": False,
    }
    (call,) = job.calls
    assert (call.slide, call.model, call.store) == ("a slide", "mine", out)
    config = call.config
    assert (config.mode, config.steps, config.seed, config.device) == ("draft", 5, 7, "cpu")
    assert tuple(config.roi) == (10, 20, 300, 400)


def test_a_finished_prediction_says_where_and_what(slide, out, monkeypatch, capfd):
    monkeypatch.setattr(api, "predict", fake_job())
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 0
    told = capfd.readouterr().out
    told_of = (str(out), "448 x 256", "2 um", "2 predicted, 1 background", "1.2 s")
    for word in (*told_of, "branch      nuclei were trusted in 50 % of the windows"):
        assert word in told
    assert out.exists()


def test_an_existing_output_is_refused_and_left_alone(slide, out, monkeypatch, capfd):
    job = fake_job()
    monkeypatch.setattr(api, "predict", job)
    out.mkdir()
    (out / "precious").write_text("data")
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 2
    assert_one_line(capfd, out, "already exists")
    assert (out / "precious").read_text() == "data"
    assert job.calls == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("channel 'CD31' is not there: choose one of red, green, blue"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a.tif"),
    ],
)
def test_bad_input_is_exit_2(out, monkeypatch, capfd, error):
    def open_slide(path, **options):
        raise error

    monkeypatch.setattr(api, "open_slide", open_slide)
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 2
    assert_one_line(capfd, "CD31" if "CD31" in str(error) else "a.tif: No such file")
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--mode", "warp"), ("--steps", "0"), ("--device", "abacus"), ("--roi", "9 9 3 3")],
)
def test_settings_out_of_range_are_exit_2(slide, out, capfd, option, value):
    assert cli.main(["predict", "a.tif", "--out", str(out), option, *value.split()]) == 2
    assert_one_line(capfd, value.split()[0])
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (MemoryError(), "out of memory"),
        (RuntimeError("shapes\ndiffer"), "shapes differ"),
    ],
)
def test_a_job_that_stops_is_exit_1_without_a_traceback(
    slide, out, monkeypatch, capfd, error, word
):
    monkeypatch.setattr(api, "predict", fake_job(during=error))
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 1
    lines = stderr_lines(capfd)
    assert word in lines[-1]
    assert lines[:-1] == ["napari-damm: loading the model"]
    assert "--resume" in lines[-1]


def test_what_is_stored_is_kept_and_counted_when_a_job_stops(slide, out, monkeypatch, capfd):
    monkeypatch.setattr(api, "predict", fake_job(during=MemoryError(), shards_before=1))
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 1
    assert "1 of 1 parts are stored" in stderr_lines(capfd)[-1]
    assert (out / "zarr.json").exists()


def test_resume_accepts_a_result_that_is_there(slide, out, monkeypatch):
    job = fake_job()
    monkeypatch.setattr(api, "predict", job)
    assert cli.main(["predict", "a.tif", "--out", str(out), "--resume"]) == 0
    assert [call.resume for call in job.calls] == [True]


def test_a_dry_run_prints_the_plan_and_makes_nothing(slide, out, monkeypatch, capfd):
    monkeypatch.setattr(api, "plan", lambda slide, model, config, store: "25 windows; 10 s")
    assert cli.main(["predict", "a.tif", "--out", str(out), "--dry-run"]) == 0
    assert "25 windows; 10 s" in capfd.readouterr().out
    assert not out.exists()


def test_failed_windows_are_listed_and_exit_1(slide, out, monkeypatch, capfd):
    monkeypatch.setattr(api, "predict", fake_job(failed=["window 0, 1"]))
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 1
    captured = capfd.readouterr()
    assert str(out) in captured.out
    assert captured.err.splitlines()[1:] == [
        "napari-damm: failed: window 0, 1: read error",
        "napari-damm: finished, with failed windows: 1 (listed above); --resume tries them again",
    ]


def test_an_interrupted_job_is_exit_130_and_says_how_to_go_on(slide, out, monkeypatch, capfd):
    monkeypatch.setattr(api, "predict", fake_job(during=KeyboardInterrupt()))
    assert cli.main(["predict", "a.tif", "--out", str(out)]) == 130
    last = stderr_lines(capfd)[-1]
    assert last.startswith("napari-damm: interrupted")
    assert "--resume" in last


# ---------------------------------------------------------------- simulate


def test_a_simulated_file_names_its_channels(tmp_path, capfd):
    path = tmp_path / "s.ome.tif"
    assert cli.main(["simulate", str(path), "--size", "96", "--seed", "3"]) == 0
    assert capfd.readouterr().out == f"{path}\n"
    with tifffile.TiffFile(path) as file:
        assert file.series[0].shape == (5, 96, 96)
        for name in ("vessels", "nuclei", "nanoparticles", "divergence", "nanoparticles_true"):
            assert f'Name="{name}"' in file.ome_metadata


def test_a_simulated_file_is_never_overwritten(tmp_path, capfd):
    path = tmp_path / "s.ome.tif"
    path.write_text("mine")
    assert cli.main(["simulate", str(path)]) == 2
    assert_one_line(capfd, path, "already exists")
    assert path.read_text() == "mine"


def test_an_interrupted_simulation_leaves_nothing(tmp_path, monkeypatch):
    def simulate_slide(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_damm.simulate.simulate_slide", simulate_slide)
    assert cli.main(["simulate", str(tmp_path / "s.ome.tif")]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_exit_1_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    def write_section(section, path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("napari_damm.simulate.write_section", write_section)
    assert cli.main(["simulate", str(tmp_path / "s.ome.tif"), "--size", "64"]) == 1
    assert_one_line(capfd, "disk is full", "s.ome.tif")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- demo


def test_a_demo_without_a_gui_toolkit_says_so_before_the_work(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "napari.qt", None)
    assert cli.main(["demo", "--gui", "--out", str(tmp_path / "demo")]) == 2
    assert_one_line(capfd, "--gui", "napari-damm[all]")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_opens_section_and_result_in_napari(tmp_path, monkeypatch):
    opened = []
    viewer = SimpleNamespace(open=lambda path, plugin: opened.append((Path(path).name, plugin)))
    monkeypatch.setattr("napari.Viewer", lambda: viewer)
    monkeypatch.setattr("napari.run", lambda: opened.append("run"))
    monkeypatch.setattr(api, "predict", fake_job())
    monkeypatch.setattr("napari_damm.cli.demo.Demo.report", lambda self: ["SSIM 1"])
    out = tmp_path / "demo"
    assert cli.main(["demo", "--gui", "--size", "64", "--out", str(out)]) == 0
    assert opened == [
        ("section.ome.tif", "napari-damm"),
        ("result.ome.zarr", "napari-damm"),
        "run",
    ]


def test_a_demo_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "predict", fake_job(during=RuntimeError("boom")))
    assert cli.main(["demo", "--size", "64", "--out", str(tmp_path / "demo")]) == 1
    assert list(tmp_path.iterdir()) == []
