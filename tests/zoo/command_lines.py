"""Command lines that ask for what there is not, or in a way that nobody means."""

from __future__ import annotations

import shlex
from pathlib import Path

from zoo.case import Group

CASES = Group("command lines")

RESULT = "r.ome.zarr"
LONG = "n" * 300
HUGE = "9" * 400
# Half of a surrogate pair is how Python shows a byte that is no letter; U+202E turns text around.
NAMES = {
    "control sequences": "x\x1b[31my\x07",
    "a line end": "two\nlines",
    "no letters": "a\udcffb",
    "turned around": "abc\u202etxt",
    "a name longer than any": LONG,
    "an unheard-of scheme": "s3://bucket/a.tif",
    "a tilde": "~nobody/a.tif",
    "only a blank": " ",
}


def _refused(name: str, says: str, *arguments: str) -> None:
    """Add a case of a text file `notes.txt`, a folder `folder` and a command line."""

    def make(folder: Path) -> list[str]:
        (folder / "notes.txt").write_text("no picture")
        (folder / "folder").mkdir()
        return list(arguments)

    CASES.refused(name, says)(make)


for told, odd in NAMES.items():
    _refused(
        f"predict {told}", "does not exist|cannot be|too long", "predict", odd, "--out", RESULT
    )
    _refused(
        f"resume into {told}", r"must end in \.ome\.zarr", "predict", "notes.txt", "--out", odd
    )
    _refused(f"a model called {told}", "unknown model|no such model|must be|too long",
             "models", "show", odd)  # fmt: skip
    _refused(f"remove a model called {told}", "no model|must be|too long|unknown",
             "models", "remove", odd)  # fmt: skip
    _refused(f"settings in {told}", "does not exist|too long|cannot be",
             "train", "--out", "run", "--config", odd)  # fmt: skip

SETTINGS: dict[str, tuple[str, ...]] = {
    "--seed": ("-1", HUGE, "1.5", "nan"),
    "--steps": ("0", "1001", HUGE, "-5"),
    "--samples": ("0", "65", HUGE),
    "--workers": ("0", "-3", "many"),
    "--batch-size": ("0", "-1"),
    "--lanes": ("0",),
    "--gamma": ("-0.1", "1.1", "nan", "inf"),
    "--mode": ("FAST", "0", "a\x1b[2J"),
    "--device": ("gpu", "cuda:99", "\u202ecpu"),
}
for option, values in SETTINGS.items():
    for value in values:
        shown = value if len(value) < 40 else f"{value[:5]}..."
        _refused(f"predict {option} {shown!r}", option.removeprefix("--"),
                 "predict", "notes.txt", "--out", RESULT, option, value)  # fmt: skip

for roi in ("0 0 0 0", "5 5 1 1", "a 0 1 1", f"{HUGE} 0 1 1", f"0 0 {HUGE} 1"):
    _refused(f"predict --roi {roi[:12]}", "roi",
             "predict", "notes.txt", "--out", RESULT, "--roi", *roi.split())  # fmt: skip

TRAIN: dict[str, tuple[str, ...]] = {
    "--epochs": ("0", "1.5", "-1"),
    "--minutes": ("0", "inf", "nan", "-2"),
    "--name": ("../up", "a/b", ".", "-x", LONG + "/"),
    "--learning-rate": ("0", "nan", "inf"),
    "--preset": ("huge",),
    "--modalities": ("a,a,b", "a,b", ",,"),
    "--validation-share": ("0", "0.95"),
    "--precision": ("8",),
    "--crop-px": ("128",),
    "--discriminator-from": ("5",),
    "--model-pixel-size": ("0", "2"),
}
for option, values in TRAIN.items():
    for value in values:
        shown = value if len(value) < 40 else f"{value[:5]}..."
        named = option.removeprefix("--").replace("model-", "")
        _refused(f"train {option} {shown!r}", named,
                 "train", "notes.txt", "--out", "run", option, value)  # fmt: skip

for size in ("0", "63", "-64", "32769", "99999999", HUGE, "1e3"):
    _refused(f"simulate --size {size[:12]}", "size", "simulate", "s.ome.tif", "--size", size)
    _refused(f"demo --size {size[:12]}", "size", "demo", "--out", "made", "--size", size)
for seed in ("-1", "1.5", "x"):
    _refused(f"simulate --seed {seed}", "seed",
             "simulate", "s.ome.tif", "--size", "64", "--seed", seed)  # fmt: skip

for name, says, command in (
    ("nothing at all", "Missing command|command", ""),
    ("no such command", "No such command 'fly'", "fly"),
    ("no such option", "No such option", "predict notes.txt --out r.ome.zarr --fast"),
    ("an option twice over",
     "exist|known kind",
     "predict notes.txt --out r.ome.zarr --out r.ome.zarr"),
    ("an empty input", "argument is empty, after predict", "predict '' --out r.ome.zarr"),
    ("an empty output", "argument is empty, after --out", "predict notes.txt --out ''"),
    ("an empty command", "argument is empty", "''"),
    ("a folder as section", "is a directory but not", "predict folder --out r.ome.zarr"),
    ("the current folder as section", "is a directory but not", "predict . --out r.ome.zarr"),
    ("a device as section",
     "a device, no file",
     "predict /dev/null --out r.ome.zarr"),
    ("a folder of a file as output",
     "exist|folder",
     "predict notes.txt --out notes.txt/r.ome.zarr"),
    ("output in a folder that is not there",
     "does not exist",
     "predict notes.txt --out no/r.ome.zarr"),
    ("output where nobody can write", "exist|cannot|denied", "simulate /proc/s.ome.tif --size 64"),
    ("output is the input", "already exists", "evaluate notes.txt --out notes.txt"),
    ("simulate over a file", "must end in|already exists", "simulate notes.txt"),
    ("demo into a folder that is there", "already exists", "demo --out folder"),
    ("a text as settings", "cannot be read|Expected|must", "train --out run --config notes.txt"),
    ("a folder as settings", "does not exist|folder|directory", "train --out run --config folder"),
    ("a text as base model", "notes.txt", "train notes.txt --out run --base notes.txt"),
    ("a text as model", "notes.txt", "models show notes.txt"),
    ("a folder as model", "folder", "models show folder"),
    ("a text to import", "notes.txt", "models import notes.txt"),
    ("export over a file of another kind", "must end in", "models export small notes.txt"),
    ("remove what is bundled", "small", "models remove small"),
    ("resume what was never begun", "no training|does not exist", "train --out folder --resume"),
    ("train on nothing", "give sections", "train --out run"),
    ("train nowhere", "--out", "train notes.txt"),
    ("evaluate on nothing", "give sections", "evaluate --out report"),
    ("two sections of one nuclei file",
     "one INPUT",
     "evaluate a.tif b.tif --nuclei n.tif --out report"),
    ("minus two simulated sections", "simulated|sections", "evaluate --simulated -2 --out report"),
    ("analyze nothing", "Missing argument|INPUT", "analyze --out report"),
    ("a band of words", "--band", "analyze notes.txt --out report --band near-far"),
):  # fmt: skip
    _refused(name, says, *shlex.split(command))


@CASES.refused("export over a file", "already exists")
def export_over(folder: Path) -> list[str]:
    (folder / "small.safetensors").write_text("mine")
    return ["models", "export", "small", "."]


def is_exported(folder: Path, text: str) -> None:
    assert (folder / "folder" / "small.safetensors").stat().st_size > 2**20
    assert "small.safetensors" in text


@CASES.works("export into a folder", is_exported)
def export_into(folder: Path) -> list[str]:
    (folder / "folder").mkdir()
    return ["models", "export", "small", "folder"]
