"""`napari-damm evaluate`: over a made-up evaluation, and once over the real one."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
from evaluations import report_of, rows_of, section_file, section_folder, window_model

from napari_damm import api, cli
from napari_damm.dataset import SimulatedSource
from napari_damm.evaluation.report import SectionFacts
from napari_damm.events import FailedItem, Finished, Preparing


@pytest.fixture
def out(tmp_path):
    return tmp_path / "report"


@pytest.fixture
def evaluated(monkeypatch):
    """Make `api.evaluate` a stand-in that records how it is called; `during` is raised by it."""
    job = SimpleNamespace(calls=[], during=None, failed=())

    def evaluate(data, model=None, config=None, out=None):
        job.calls.append(SimpleNamespace(data=data, model=model, config=config, out=out))
        yield Preparing("measuring sections", 0, 1)
        if job.during is not None:
            raise job.during
        for item in job.failed:
            yield FailedItem(item, "is blank")
        report = report_of(rows_of([0.25]))
        facts = SectionFacts("s0", (64, 64), 1.0, 4096)
        object.__setattr__(report, "sections", (facts,))
        yield Finished(report.at(out), 1.0, tuple(job.failed))

    monkeypatch.setattr(api, "evaluate", evaluate)
    return job


def error_lines(capfd):
    return capfd.readouterr().err.splitlines()


def test_options_reach_the_evaluation(evaluated, out):
    code = cli.main(
        [
            "evaluate", "--simulated", "2", "--simulated-size", "128", "--first-seed", "10007",
            "--model", "mine", "--compare", "yours", "--mode", "draft", "--steps", "5",
            "--seed", "7", "--device", "cpu", "--out", str(out),
        ]
    )  # fmt: skip
    assert code == 0
    (call,) = evaluated.calls
    assert call.data == [SimulatedSource(2, 128, "internal", 10_007)]
    assert (call.model, call.out) == ("mine", out)
    assert call.config == api.EvaluateConfig("draft", 5, 7, "cpu", compare="yours")


def test_simulated_sections_are_reserved_ones_by_default(evaluated, out):
    assert cli.main(["evaluate", "--simulated", "2", "--out", str(out)]) == 0
    assert evaluated.calls[0].data[0].first_seed == 10_000


def test_a_table_and_the_files_are_told_on_stdout(evaluated, out, capfd):
    assert cli.main(["evaluate", "--simulated", "1", "--out", str(out)]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    for word in ("1 section;", "SSIM", "0.250", "T1 only", str(out / "figure.png"), "as taken"):
        assert word in captured.out


def test_failed_sections_are_listed_and_exit_1(evaluated, out, capfd):
    evaluated.failed = ("s1", "s2")
    assert cli.main(["evaluate", "--simulated", "3", "--out", str(out)]) == 1
    assert error_lines(capfd) == [
        "napari-damm: failed: s1: is blank",
        "napari-damm: failed: s2: is blank",
        "napari-damm: finished, but 2 of 3 sections could not be evaluated (listed above)",
    ]


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (ValueError("channel is blank"), 2, "channel is blank"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "disk is full"),
        (MemoryError(), 1, "out of memory"),
        (RuntimeError("boom"), 1, "internal error"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_end_has_its_exit_code_and_one_line(evaluated, out, capfd, error, code, word):
    evaluated.during = error
    assert cli.main(["evaluate", "--simulated", "1", "--out", str(out)]) == code
    (line,) = error_lines(capfd)
    assert word in line


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([], "give sections to work on"),
        (["a.tif", "b.tif", "--nuclei", "n.tif"], "--nuclei goes with one INPUT"),
        (["--simulated", "1", "--mode", "warp"], "mode must be one of"),
        (["--simulated", "many"], "--simulated"),
        (["--roi", "0", "0", "5"], "--roi"),
    ],
)
def test_bad_usage_is_exit_2_and_one_line(evaluated, out, capfd, args, word):
    assert cli.main(["evaluate", *args, "--out", str(out)]) == 2
    (line,) = error_lines(capfd)
    assert word in line
    assert evaluated.calls == []


# ---------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return window_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.mark.slow
def test_a_folder_is_evaluated_from_beginning_to_end(tmp_path, model, out, capfd):
    data = section_folder(tmp_path / "data")
    code = cli.main(
        ["evaluate", str(data), "--model", str(model), "--steps", "1", "--out", str(out)]
    )
    assert code == 0
    assert "trained on simulated tissue" in capfd.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == [
        "figure.png",
        "report.json",
        "sections.csv",
        "summary.csv",
    ]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--simulated", "1", "--first-seed", "9999"], "9999"),
        (["--simulated", "1", "--simulated-size", "3"], "got 3"),
        (["--simulated", "1", "--simulated-preset", "lunar"], "lunar"),
        (["--simulated", "1", "--model", "no-such-model"], "no-such-model"),
        (["nowhere.tif"], "nowhere.tif"),
        (["{file}", "--target-channel", "QD"], "'QD'"),
        (["{file}", "--target-channel", "vessels"], "same channel as an input"),
        (["{file}", "--roi", "900", "900", "999", "999"], "900 900 999 999"),
        (["{folder}"], "no sub-folder 'CD31'"),
        (["{text}"], "notes.tif"),
    ],
)
def test_bad_data_are_exit_2_with_one_line_and_leave_nothing(
    tmp_path, model, out, capfd, args, word
):
    places = {
        "{file}": section_file(tmp_path / "s.ome.tif", size=96),
        "{folder}": tmp_path / "empty",
        "{text}": tmp_path / "notes.tif",
    }
    places["{folder}"].mkdir()
    places["{text}"].write_text("hello")
    args = [str(places.get(arg, arg)) for arg in args]
    chosen = [] if "--model" in args else ["--model", str(model)]
    assert cli.main(["evaluate", *args, *chosen, "--out", str(out)]) == 2
    (line,) = error_lines(capfd)
    assert line.startswith("napari-damm: ")
    assert word in line
    assert not out.exists()


def test_an_existing_output_is_refused_and_left_alone(tmp_path, model, capfd):
    (tmp_path / "precious").write_text("data")
    args = ["evaluate", "--simulated", "1", "--model", str(model), "--out", str(tmp_path)]
    assert cli.main(args) == 2
    assert "already exists" in error_lines(capfd)[0]
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]
