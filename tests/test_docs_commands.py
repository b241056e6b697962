"""Each command of ours on each page runs as it stands there, on small files and with a tiny model.

1. `desk` makes the files and models that pages speak of, once; each command gets a copy.
2. What makes a command long is made smaller (`SMALLER`), what names a machine or a file that
   only the reader has is put in (`given`); everything else is as on the page.
3. It must end with exit code 0 and leave what it names as its output.

README, quickstart and analysis run with the bundled model, too, at full size: `make docs-run`.
Commands of others (dask, openssl) run in `test_dask.py` and `test_dask_tls.py`.
"""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import tifffile
import trainings
from docs_blocks import all_blocks, commands
from models import CARD, velocity_model
from PIL import Image
from test_import_authors import save_lightning, theirs
from test_npy_patches import write_patches
from training_data import images, write_folder, write_slide

from napari_damm import cli, model_file
from napari_damm.engine import config as engine_config
from napari_damm.model import DAMM
from napari_damm.model_file import library, save_model

SIZE = "320"
SECTION = "576"
SMALLER = {
    "--size": SECTION,
    "--simulated": "2",
    "--simulated-size": SIZE,
    "--epochs": "1",
    "--workers": "2",
}
ENDS_OF_A_REGION = {"999": "640", "500": "320", "499": "320"}


def in_order():
    """Yield the commands of all pages; those with the options of an earlier one are slow tests."""
    seen = set()
    for block in all_blocks("sh"):
        for words in commands(block):
            if words[0] != "napari-damm":
                continue
            options = frozenset(word for word in words if word.startswith("--"))
            again = words[1] != "models" and (words[1], options) in seen
            seen.add((words[1], options))
            marks = [pytest.mark.slow] if again else []
            said = f"{block}: {' '.join(words[1:])[:70]}"
            yield pytest.param(words[1:], id=said, marks=marks)


COMMANDS = list(in_order())
OWN_AUTOENCODERS = {"encode": DAMM.encode, "decode": DAMM.decode}
TRAINED = "runs/mine/mine", "runs/first/first", "external/external", "lectin/lectin"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the files that pages speak of, and a tiny model in the bundled one's place."""
    folder = tmp_path_factory.mktemp("desk")
    bundled = tmp_path_factory.mktemp("bundled")
    with trainings.quick(), pytest.MonkeyPatch.context() as patch:
        for module in (library, model_file):
            patch.setattr(module, "bundled_folder", lambda: bundled)
        for mode in ("fast", "draft"):
            patch.setitem(engine_config.STEPS, mode, 2)
        save_model(velocity_model(), bundled / "small.safetensors", CARD | {"name": "small"})
        pictures(folder)
        run_here(folder, patch, f"simulate simulated.ome.tif --size {SECTION} --seed 10000")
        run_here(folder, patch, "predict simulated.ome.tif --out result.ome.zarr")
        run_here(folder, patch, "train patches --pixel-size 0.5 --epochs 1 --out run")
        save_lightning(folder / "trained.ckpt", theirs(trainings.random_model()))
        yield folder


def pictures(folder):
    """Write sections as files of several kinds, and folders of patches."""
    write_slide(folder / "stained.ome.tif", (320, 576))
    for name, image in zip(("cd31", "dapi", "qd"), images((500, 900)).values(), strict=True):
        tifffile.imwrite(folder / f"{name}.tif", image)
    for number, name in enumerate(("1.jpg", "2.jpg", "3.jpg", "photo.jpg", "section.jpg")):
        red, blue, green = images((640, 640), number).values()
        Image.fromarray((np.dstack([red, green, blue]) >> 4).astype(np.uint8)).save(folder / name)
    write_folder(folder / "patches", 4, 512)
    write_folder(folder / "patches", 4, 512, ("vessels", "nuclei", "np"))
    write_folder(folder / "kept", 8, 516)  # others than the patches
    write_folder(folder / "contrasts", 4, 256, ("T1", "T2", "FLAIR"))
    write_patches(folder / "data", side=512)
    ring = [[50, 50], [200, 50], [200, 200], [50, 200], [50, 50]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "geometry": outline, "properties": {"name": "rim"}}
    (folder / "annotations.geojson").write_text(json.dumps([feature]))
    rows = "a.ome.zarr,m1,control\nb.ome.zarr,m2,treated\n"
    (folder / "groups.csv").write_text("file,animal,group\n" + rows)


def run_here(folder, patch, line):
    patch.chdir(folder)
    assert cli.main(line.split()) == 0


@pytest.fixture
def at_the_desk(desk, tmp_path, monkeypatch):
    """Work in a copy of it, with models of one's own."""
    here = tmp_path / "desk"
    shutil.copytree(desk, here)
    for model in TRAINED:
        (here / model).parent.mkdir(parents=True)
    shutil.rmtree(here / "runs" / "mine")
    (here / "run").rename(here / "runs" / "mine")
    made = next((here / "runs" / "mine").glob("*.safetensors"))
    for model in TRAINED[1:]:
        shutil.copy(made, here / f"{model}.safetensors")
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    shutil.copy(made, tmp_path / "own" / "mine.safetensors")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_runs(words, at_the_desk, request, capfd, monkeypatch):
    if "--preset" in words:  # a new model, whose autoencoders are others than those stood in for
        for name, method in OWN_AUTOENCODERS.items():
            monkeypatch.setattr(DAMM, name, method)
    words = given(words, at_the_desk, request)
    assert cli.main(words) == 0, capfd.readouterr().err
    for out in outputs(words):
        assert (at_the_desk / out).exists(), out


def given(words, here, request):
    """Return a command with what the reader puts in, and prepare the folder for it."""
    stained = {"CD31", "QD"} & set(words)
    section = "stained.ome.tif" if stained else "simulated.ome.tif"
    shutil.copy(here / section, here / "section.ome.tif")
    words = [re.sub("^/(data|scratch)/", "", each) for each in words]
    words = ["cpu" if each == "cuda" else each for each in words]
    if "--scheduler" in words:
        words = on_a_cluster(words, request.getfixturevalue("address"))
    if words[0] == "models":
        words = names_of_models(words)
    if "--roi" in words:
        words = [ENDS_OF_A_REGION.get(each, each) for each in words]
    words = made_smaller(words)
    many_sections(words, here)
    if "--resume" not in words:
        for out in outputs(words):
            remove(here / out)
    return [each for word in words for each in globbed(word, here)]


def made_smaller(words):
    """Return a command that takes seconds."""
    if "--minutes" in words:
        at = words.index("--minutes")
        words[at : at + 2] = ["--epochs", "1"]
    for option, value in SMALLER.items():
        if option in words and (words[0], option) != ("calibrate", "--simulated"):
            words[words.index(option) + 1] = value
    if "--resume" in words and words[0] == "train":
        words += ["--epochs", "2"]  # one was made
    if "--simulated" in words and "--simulated-size" not in words:
        words += ["--simulated-size", SIZE]
    return words


def on_a_cluster(words, address):
    """Put in the address of a cluster on this machine, which has no graphics card."""
    words[words.index("--scheduler") + 1] = address
    if "--device" in words:
        words[words.index("--device") + 1] = "cpu"
    return words


@pytest.fixture(scope="module")
def address():
    """The address of a dask cluster in this process."""
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "dashboard_address": None, "host": "127.0.0.1"}
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, protocol="tcp", **options)
    with cluster:
        yield cluster.scheduler_address


def names_of_models(words):
    """Put in a model's name and files where a page says NAME and FILE."""
    files = {"import": "runs/first/first.safetensors", "export": "exported.safetensors"}
    named = {"NAME": "mine", "FILE": files.get(words[1])}
    words = [named.get(each, each) for each in words]
    return [*words, "--name", "theirs"] if words[1:3] == ["import", files["import"]] else words


def many_sections(words, here):
    """Make the folders that a command about several sections reads."""
    if "sections/" in words:
        (here / "sections").mkdir()
        (here / "more").mkdir()
        if "--nuclei-pattern" in words:
            for name in ("cd31", "dapi"):
                shutil.copy(here / f"{name}.tif", here / "sections" / f"m1_{name.upper()}.tif")
        else:
            for name in ("sections/a", "sections/b", "more/extra"):
                shutil.copy(here / "stained.ome.tif", here / f"{name}.ome.tif")
    for word in words:
        if "*" in word:
            for name in ("a", "b"):
                to = (here / word).with_name(f"{name}.ome.zarr")
                shutil.copytree(here / "result.ome.zarr", to)
            remove(here / "result.ome.zarr")


def globbed(word, here):
    """Return what a shell makes of a word with a star."""
    found = here.glob(word) if "*" in word else ()
    names = sorted(str(each.relative_to(here)) for each in found)
    return names or [word]


def outputs(words):
    """Return what a command writes."""
    options = ("--out", "--out-dir")
    named = [words[at + 1] for at, word in enumerate(words) if word in options]
    if words[0] == "simulate":
        named.append(words[1])
    if words[:2] == ["models", "export"]:
        named.append(words[3])
    return [] if "--dry-run" in words else named


def remove(path):
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
