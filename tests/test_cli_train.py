"""The command `train`: its options, its exit codes, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields

import pytest
import tifffile
from training_data import images, write_folder, write_slide

from napari_damm import cli
from napari_damm.train.config import TrainConfig
from napari_damm.train.run_folder import read_training
from napari_damm.train.settings_file import read_settings

QUICK = ["--epochs", "2", "--batch-size", "2", "--variants", "1", "--validations", "2"]
QUICK += ["--validation-windows", "1", "--device", "cpu"]
pytestmark = pytest.mark.usefixtures("quick_training")


@pytest.fixture
def slide(tmp_path):
    return write_slide(tmp_path / "section.ome.tif")


def train(*arguments) -> int:
    return cli.main(["train", *map(str, arguments)])


def refusal(capfd, *arguments) -> str:
    assert train(*arguments) == 2
    told = capfd.readouterr().err.strip()
    assert told.startswith("napari-damm: ")
    assert "\n" not in told
    return told


def test_a_slide_becomes_a_model(slide, tmp_path, tiny_base_file, capfd):
    out = tmp_path / "mine"
    assert train(slide, "--base", tiny_base_file, "--out", out, *QUICK) == 0
    told = capfd.readouterr()
    assert "not calibrated: sections kept aside give it 90 % intervals" in told.out
    assert "SSIM" in told.out
    assert str(out / "mine.safetensors") in told.out
    assert "4 patches to train, 1 to validate" in told.err
    assert "validation at step 4" in told.err
    assert read_training(out).finished


def test_the_model_can_be_installed(slide, tmp_path, tiny_base_file, monkeypatch, capfd):
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "models"))
    out = tmp_path / "run"
    arguments = ["--base", tiny_base_file, "--out", out, "--name", "mine", "--install", *QUICK]
    assert train(slide, *arguments) == 0
    assert "installed as 'mine'" in capfd.readouterr().out
    assert (tmp_path / "models" / "mine.safetensors").is_file()


def test_resume_needs_the_folder_only_even_where_paths_were_relative(
    slide, tmp_path, tiny_base_file, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert train(slide.name, "--base", tiny_base_file, "--out", "run", *QUICK) == 0
    assert train("--out", "run", "--resume", "--epochs", "3") == 0
    assert read_training(tmp_path / "run").step == 6


def test_with_resume_another_name_replaces_no_other_model(
    slide, tmp_path, tiny_base_file, monkeypatch, capfd
):
    models, out = tmp_path / "models", tmp_path / "run"
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(models))
    begin = ["--base", tiny_base_file, "--out", out, "--name", "mine", *QUICK]
    assert train(slide, *begin) == 0
    models.mkdir()
    shutil.copy(tiny_base_file, models / "other.safetensors")
    before = (models / "other.safetensors").read_bytes()
    assert train("--out", out, "--resume", "--name", "other", "--install") == 0
    told = capfd.readouterr()
    assert "goes on being called 'mine'" in told.err
    assert "installed as 'mine'" in told.out
    assert (models / "other.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "option",
    [
        ["--pixel-size", "3"], ["--vessels-channel", "CD31"], ["--roi", "0", "0", "9", "9"],
        ["--first-seed", "4"], ["--folders", "A,B,C"], ["--coarse-pixels"],
        ["--simulated-size", "512"],
    ],
)  # fmt: skip
def test_options_of_data_that_are_not_given_here_are_refused(option, slide, tmp_path, capfd):
    (tmp_path / "job.toml").write_text(f'[[data]]\nkind = "slide"\npath = "{slide.name}"\n')
    rest = ["--config", tmp_path / "job.toml", "--out", tmp_path / "run"]
    assert f"{option[0]} goes with the sections" in refusal(capfd, *option, *rest)
    assert not (tmp_path / "run").exists()


def test_epochs_on_the_command_line_go_before_minutes_in_the_file(slide, tmp_path, tiny_base_file):
    (tmp_path / "job.toml").write_text(f'minutes = 90\nbase = "{tiny_base_file}"')
    arguments = [slide, "--config", tmp_path / "job.toml", "--out", tmp_path / "run", *QUICK]
    assert train(*arguments) == 0
    assert read_training(tmp_path / "run").step == 4


def test_every_setting_is_an_option(capfd):
    assert train("--help") == 0
    told = capfd.readouterr().out
    for field in fields(TrainConfig):
        if field.name != "pixel_size_um":
            assert re.search(rf"--{field.name.replace('_', '-')}[ ,]", told), field.name
    assert "--model-pixel-size" in told


def test_a_settings_file_says_it_all_and_the_command_line_goes_before_it(
    slide, tmp_path, tiny_base_file, capfd
):
    (tmp_path / "job.toml").write_text(
        f"""
        base = "{tiny_base_file}"
        out = "run"
        name = "from file"
        epochs = 50
        batch_size = 2
        variants = 1
        validations = 1
        validation_windows = 1
        [[data]]
        kind = "slide"
        path = "{slide.name}"
        """
    )
    assert train("--config", tmp_path / "job.toml", "--epochs", "1", "--device", "cpu") == 0
    state = read_training(tmp_path / "run")
    assert (state.name, state.config.epochs, state.config.batch_size) == ("from file", 1, 2)


def test_a_settings_file_may_be_json(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"minutes": 3, "data": [{"kind": "simulated", "sections": 2}]}))
    settings = read_settings(path)
    assert settings.values == {"minutes": 3}
    assert settings.sources[0].sections == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minutes = ", "cannot be read"),
        ("minuets = 3", "minuets"),
        ("batch_size = 0", "batch_size must be in 1..4096, got 0"),
        ('[[data]]\nkind = "film"', "film"),
        ('data = "x"', "kind"),
        ("modalities = 5", "modalities"),
        ('[[data]]\nkind = "slide"\npath = "a.tif"\nroi = 5', "four numbers"),
        ('[[data]]\nkind = "slide"\npath = "a.tif"\nroi = [1, 2, 3]', "four numbers"),
        ('[[data]]\nkind = "simulated"\nsections = 2.5', "whole number"),
        ('[[data]]\nkind = "folder"\npath = "a"\npixel_size_um = "x"', "pixel_size_um"),
    ],
)
def test_a_bad_settings_file_is_refused_by_value(tmp_path, capfd, text, words):
    (tmp_path / "job.toml").write_text(text)
    told = refusal(capfd, "--config", tmp_path / "job.toml", "--out", tmp_path / "run")
    assert words in told
    assert "job.toml" in told


def test_bad_input_is_exit_2_and_leaves_nothing(slide, tmp_path, tiny_base_file, capfd):
    out = tmp_path / "run"
    text = tmp_path / "text"
    for name in ("CD31", "DAPI", "QD"):
        (text / name).mkdir(parents=True)
        (text / name / "a.txt").write_text("no image")
    small = tmp_path / "small.tif"
    tifffile.imwrite(small, images((100, 100))["target"])
    base = ["--base", tiny_base_file, "--out", out]
    cases = [
        ((slide, "--out", out, "--base", "nobody"), "nobody"),
        ((slide, *base, "--target-channel", "green"), "green"),
        ((slide, *base, "--target", small), "100 x 100"),
        ((slide, *base, "--epochs", "0"), "epochs must be 1 or more"),
        ((slide, *base, "--roi", "0", "0", "100", "100"), "too few patches"),
        ((text, *base, "--pixel-size", "1"), "a.txt is not an image"),
        ((tmp_path / "nowhere", *base), "nowhere"),
        ((*base,), "give sections to train on"),
        ((slide,), "give --out"),
        ((slide, *base, "--resume"), "no training"),
        ((slide, *base, "--device", "tpu"), "tpu"),
        ((slide, *base, "--modalities", "a,a,b"), "different"),
        ((slide, *base, "--crop-px", "71", "--crop-until", "0.5"), "crop_px must be a multiple"),
        ((slide, slide, *base), "give every section once"),
    ]
    for arguments, words in cases:
        assert words in refusal(capfd, *arguments), words
        assert not out.exists()


def test_a_folder_that_is_taken_is_exit_2(slide, tmp_path, tiny_base_file, capfd):
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    assert "already exists" in refusal(capfd, slide, "--base", tiny_base_file, "--out", out)
    assert (out / "mine.txt").read_text() == "keep me"


def test_a_name_that_is_bundled_is_refused_before_the_training(slide, tmp_path, capfd):
    arguments = [slide, "--out", tmp_path / "run", "--name", "small", "--install"]
    assert "bundled" in refusal(capfd, *arguments)


def test_a_name_that_is_installed_is_refused_before_the_training(
    slide, tmp_path, tiny_base_file, monkeypatch, capfd
):
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    shutil.copy(tiny_base_file, tmp_path / "models" / "mine.safetensors")
    arguments = [slide, "--out", tmp_path / "run", "--name", "mine", "--install"]
    assert "is installed already" in refusal(capfd, *arguments)


def test_a_setting_of_the_last_release_is_known_when_it_goes_on(slide, tmp_path, tiny_base_file):
    out = tmp_path / "run"
    assert train(slide, "--base", tiny_base_file, "--out", out, *QUICK) == 0
    from napari_damm.cli.train import _config

    config = _config({"average": 0.99, "epochs": 4}, out, resume=True)
    assert (config.ema_decay, config.epochs) == (0.99, 4)


def test_patches_that_cannot_be_read_are_exit_1(tmp_path, tiny_base_file, monkeypatch, capfd):
    from napari_damm.dataset.fields import Field

    read = Field.read

    def damaged(self, role, box):
        if self.section.name == "patch_01.tif":
            raise OSError("tile 3 is damaged")
        return read(self, role, box)

    monkeypatch.setattr(Field, "read", damaged)
    folder = write_folder(tmp_path / "patches", 5)
    arguments = [folder, "--pixel-size", "1", "--base", tiny_base_file, "--out", tmp_path / "run"]
    assert train(*arguments, *QUICK) == 1
    told = capfd.readouterr()
    assert "tile 3 is damaged" in told.err
    assert (tmp_path / "run" / "run.safetensors").is_file()


# ---------------------------------------------------------------- in a process of its own


LIMITED = """
import sys
from napari_damm import cli
{before}
sys.exit(cli.main(sys.argv[1:]))
"""


def start(arguments, before="") -> subprocess.Popen:
    command = [sys.executable, "-W", "ignore", "-c", LIMITED.format(before=before), "train"]
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_with_everything_saved_and_resume_goes_on(
    slide, tmp_path, tiny_base_file, number, capfd
):
    out = tmp_path / "run"
    arguments = [slide, "--base", tiny_base_file, "--out", out, *QUICK, "--epochs", "100000"]
    arguments += ["--validations", "100000", "--checkpoint-minutes", "0.00001"]
    process = start(arguments)
    deadline = time.monotonic() + 240
    while not (out / "run.safetensors").is_file() and process.poll() is None:
        assert time.monotonic() < deadline
    process.send_signal(number)
    told = process.communicate(timeout=240)[1]
    assert process.returncode == 130
    assert f"--out {out} --resume" in told.splitlines()[-1]
    state = read_training(out)
    assert state.resumable
    assert state.model is not None
    assert train("--out", out, "--resume", "--epochs", state.step // 2 + 1) == 0
    assert read_training(out).finished


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_is_exit_1_in_one_line_and_can_be_resumed(slide, tmp_path, tiny_base_file):
    """The file size limit stands for the disk: no file may grow beyond 700 kB."""
    out = tmp_path / "run"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))"
    arguments = [slide, "--base", tiny_base_file, "--out", out, *QUICK]
    before = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {limit}"
    process = start(arguments, before)
    told = process.communicate(timeout=240)[1].strip().splitlines()
    assert process.returncode == 1
    assert "disk is full" in told[-1]
    assert "--resume" in told[-1]
    assert "Traceback" not in "".join(told)
    assert train("--out", out, "--resume") == 0


@pytest.mark.slow
def test_two_processes_share_the_work(slide, tmp_path, tiny_base_file):
    out = tmp_path / "run"
    arguments = [slide, "--base", tiny_base_file, "--out", out, *QUICK, "--devices", "2"]
    command = [sys.executable, "-W", "ignore", "-m", "napari_damm.cli", "train"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("model ")]) == 1
    assert read_training(out).finished
