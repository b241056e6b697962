"""One environment for all tests, set before Qt or torch are first imported."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from disks import DiskUsage

sys.path.append(str(Path(__file__).parent / "benchmarks"))

# As pytest-qt does: PYTEST_QT_API=pyside6 runs the tests with the other binding.
os.environ["QT_API"] = os.environ.get("PYTEST_QT_API", "pyqt6")
# Nobody's own settings of napari are read or changed, by child processes neither.
_SETTINGS = tempfile.TemporaryDirectory()
os.environ["NAPARI_CONFIG"] = str(Path(_SETTINGS.name) / "settings.yaml")
# Tiny networks on few cores: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
if sys.platform == "linux":
    # Xvfb (started by pytest-xvfb) is an X server; napari's canvas fails on the others.
    os.environ["QT_QPA_PLATFORM"] = "xcb"


@pytest.fixture(scope="session")
def tiny_model():
    """A DAMM of 0.4 M random weights (4 x 4 px per confidence token); do not change it."""
    from models import random_model

    return random_model()


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory):
    """The tiny model as a file, tiny.safetensors, with `models.CARD`; do not change it."""
    from models import CARD, random_model

    from napari_damm.model_file import save_model

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    return save_model(random_model(), path, CARD)


@pytest.fixture
def one_thread():
    """Torch computes in one thread: bits do not depend on how work is shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _roomy_disk():
    """How much room this machine has left changes no result; tests of a full disk say how full."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: DiskUsage(2**41, 2**40, 2**40))
        yield


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_works():
    """Let signals do what they do here and in child processes; background jobs ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler}
    if sys.platform != "win32":
        usual[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_base_file(tmp_path_factory):
    """A tiny model as a file that trainings can start from, base.safetensors; do not change it."""
    from trainings import base_model

    from napari_damm.model_file import save_model

    return save_model(base_model(), tmp_path_factory.mktemp("base") / "base.safetensors")


@pytest.fixture(scope="session")
def finished_training(tmp_path_factory):
    """The events and the folder of one whole training; do not change it."""
    from trainings import quick, run

    out = tmp_path_factory.mktemp("training") / "run"
    with quick():
        return run(out), out


@pytest.fixture(scope="module")
def quick_first_stages():
    """Predictions of this module leave out what takes longest, and changes nothing else."""
    import jobs

    with pytest.MonkeyPatch.context() as patch:
        jobs.quick_first_stages(patch.setattr)
        yield


@pytest.fixture(scope="module")
def quick_training():
    """Trainings of this module leave out what has tests of its own (see `trainings.quick`)."""
    from trainings import quick

    with quick():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small section and a tiny model in a folder (see `jobs.make`)."""
    import jobs

    return jobs.make(tmp_path_factory.mktemp("job"))


@pytest.fixture
def saved(tmp_path):
    """Save an object as a checkpoint, as torch does."""
    import checkpoints

    return partial(checkpoints.save, tmp_path / "model.ckpt")


@pytest.fixture
def packed(tmp_path):
    """Put a crafted pickle into a checkpoint."""
    import checkpoints

    return partial(checkpoints.pack, tmp_path / "crafted.ckpt")


@pytest.fixture
def layout():
    """A result of three by two shards."""
    from napari_damm.store import ResultLayout

    return ResultLayout((300, 200), 0.5, (10.0, 20.0), shard=128)


@pytest.fixture(params=["disk", "memory"])
def location(request, tmp_path):
    """Where a store is: a path, or None for one in memory."""
    return tmp_path / "r.ome.zarr" if request.param == "disk" else None


@pytest.fixture
def out(tmp_path):
    """Where a result may go."""
    return tmp_path / "r.ome.zarr"


@pytest.fixture
def sent_as_to_a_card(monkeypatch):
    """Send tensors as to a graphics card, as far as that goes on a processor."""
    from napari_damm.train import expected
    from napari_damm.util import sending

    monkeypatch.setattr(sending, "STAGED_BYTES", 2**40)
    for module in (sending, expected):
        monkeypatch.setattr(module, "takes_at_once", lambda device: True)
