"""A compiled network: the same maps, told where it cannot be, refused where it is of no use.

On the CPU nothing is generated: `torch.compile` traces, and calls what it traced.
"""

from __future__ import annotations

import shutil
from functools import partial

import jobs
import pytest
import torch
from jobs import run
from test_device_sampler import check_alike, outputs, sampling, windows

from napari_damm import api, cli
from napari_damm.engine import config, device_sampler
from napari_damm.engine.compiling import Compiled
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.recovery import Downgraded
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.workers import dask

traced = partial(torch.compile, backend="eager", dynamic=False)


def twice(x):
    return 2 * x, [x + 1]


def fails(function):
    def made(*_):
        raise RuntimeError("no C++ compiler\nwas found")

    return made


def counted(function):
    calls = []

    def made(*given):
        calls.append(given)
        return function(*given)

    made.calls = calls
    return made


def test_a_function_is_compiled_and_proved_once():
    plain = counted(twice)
    made = Compiled(plain, lambda function: counted(twice))
    for _ in range(3):
        doubled, (more,) = made(torch.ones(2))
        assert doubled.tolist() == [2.0, 2.0]
        assert more.tolist() == [2.0, 2.0]
    assert len(plain.calls) == 1
    assert len(made._made.calls) == 3
    assert made.trouble == ""


def test_without_a_compiler_it_is_called_as_it_is():
    plain = counted(twice)
    Compiled(plain, None)(torch.ones(2))
    assert len(plain.calls) == 1


@pytest.mark.parametrize(
    ("compiler", "trouble"),
    [
        (fails, "RuntimeError: no C++ compiler was found"),
        (lambda function: lambda x: (2.1 * x, [x + 1]), "gives something else"),
        (lambda function: lambda x: (2 * x, [x + 1.1]), "gives something else"),
    ],
)
def test_what_cannot_be_compiled_is_called_as_it_is_and_it_is_said_why(compiler, trouble):
    plain = counted(twice)
    made = Compiled(plain, compiler)
    for _ in range(2):
        doubled, (more,) = made(torch.ones(2))
        assert (doubled.tolist(), more.tolist()) == ([2.0, 2.0], [2.0, 2.0])
    assert trouble in made.trouble
    assert len(plain.calls) == 2


def test_lack_of_memory_is_raised():
    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Compiled(twice, lambda function: short)(torch.ones(2))


@pytest.mark.parametrize(
    ("mode", "steps"), [("expected", 1), pytest.param("fast", 2, marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("one_thread")
def test_the_maps_of_a_compiled_network_are_the_same(tiny_model, mode, steps):
    how = sampling(tiny_model, mode, steps)
    made = DeviceSampler(tiny_model, how, "cpu", None, traced)
    check_alike(
        outputs(WindowSampler(tiny_model, how, "cpu"), windows(3)), outputs(made, windows(3))
    )
    parts = made._network, made._encoders, made._decoder
    assert [(each.trouble, each._proved) for each in parts] == [("", True)] * 3


@pytest.mark.usefixtures("one_thread")
def test_it_is_told_once_that_it_could_not_be_compiled(tiny_model):
    how = sampling(tiny_model, "fast", 2)
    made = DeviceSampler(tiny_model, how, "cpu", None, fails)
    told = [each for each in made.run(windows(3)) if isinstance(each, Downgraded)]
    assert [each.message for each in told] == [
        "the network, or a part of it, could not be compiled and is as always (RuntimeError: no "
        "C++ compiler was found)"
    ]
    assert not told[0].out_of_memory
    again = made.with_batches(1, tiny_model, "cpu")
    assert isinstance(again, DeviceSampler)
    assert again._compiler is fails


@pytest.fixture
def on_a_card(monkeypatch):
    """Take the CPU for a card, as far as a job is settled."""
    monkeypatch.setattr(device_sampler, "GRAPHED", ("cpu",))
    monkeypatch.setattr(device_sampler, "CudaRecorder", lambda: None)
    monkeypatch.setattr(device_sampler, "torch_compiler", counted)
    monkeypatch.setattr(config, "COMPILED_ON", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return jobs.make(tmp_path_factory.mktemp("job"))


@pytest.mark.usefixtures("on_a_card", "quick_first_stages")
def test_a_job_is_compiled_recorded_and_gone_on_with_alike(folder, out, monkeypatch):
    made = []
    monkeypatch.setattr(device_sampler, "torch_compiler", lambda f: made.append(f) or f)
    run(folder, out, compiled=True)
    assert len(made) == 3
    record = api.open_result(out).record
    assert record["compiled"] is True
    with pytest.raises(ValueError, match="compiled"):
        run(folder, out, resume=True)


@pytest.mark.usefixtures("quick_first_stages")
def test_a_job_that_is_not_says_so(folder, out):
    run(folder, out)
    assert api.open_result(out).record["compiled"] is False


def test_on_a_processor_it_is_refused(folder, out, capsys):
    with pytest.raises(ValueError, match="NVIDIA cards, and this is computed on cpu"):
        run(folder, out, compiled=True)
    asked = ["predict", str(folder / "section.ome.tif"), "--out", str(out), "--compiled"]
    assert cli.main([*asked, "--model", str(folder / "tiny.safetensors")]) == 2
    assert "leave --compiled out" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_batch_is_refused_once_and_leaves_nothing(folder, tmp_path, capsys, more):
    section = folder / "section.ome.tif"
    both = [str(shutil.copy(section, tmp_path / f"{name}.ome.tif")) for name in "ab"]
    asked = ["predict", *both, "--out-dir", str(tmp_path / "out"), "--compiled", *more]
    assert cli.main([*asked, "--model", str(folder / "tiny.safetensors")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "compiled" in line] == [
        "napari-damm: --compiled is for NVIDIA cards, and this is computed on cpu: leave "
        "--compiled out"
    ]
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="compiled is for NVIDIA cards"):
        next(
            api.predict_batch(
                api.find_sections(both, tmp_path / "out"),
                folder / "tiny.safetensors",
                api.PredictConfig(compiled=True),
            )
        )
    assert not (tmp_path / "out").exists()


class OfWorkers:
    """As much of a dask client as says what its workers have."""

    def __init__(self, *have):
        self.have = {f"tcp://{k}": k_has for k, k_has in enumerate(have)}

    def scheduler_info(self):
        return {"workers": self.have}

    def run(self, function, device):
        assert function("cpu") is True
        assert function("cuda") is torch.cuda.is_available()
        return self.have


def test_a_cluster_without_such_a_card_is_refused_before_anything_is_made(folder, out):
    with pytest.raises(ValueError, match=r"cuda is on none of the cluster's workers \(2\)"):
        run(folder, out, client=OfWorkers(False, False), compiled=True, device="cuda")
    assert not out.exists()
    for have in ([False, True], []):  # one is enough; others may join
        dask._check_workers(OfWorkers(*have), "cuda")


@pytest.mark.usefixtures("on_a_card", "quick_first_stages")
def test_the_forecast_adds_a_minute_and_compiles_nothing(folder, monkeypatch):
    monkeypatch.setattr(device_sampler, "torch_compiler", None)
    model = api.load_model(folder / "tiny.safetensors")
    slide = api.open_slide(folder / "section.ome.tif")
    plain, made = (
        api.plan(slide, model, api.PredictConfig(compiled=compiled)) for compiled in (False, True)
    )
    assert made.seconds > 60 > plain.seconds
    assert "60 s of it to compile the network" in str(made)
    assert "compile" not in str(plain)
