"""Sound files for the cases of the zoo: a model, a section, results; made once, then copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = "NAPARI_DAMM_ZOO_GOODS"
MODEL, SECTION, RESULT, STOPPED, TRAINING = (
    "tiny.safetensors",
    "section.ome.tif",
    "result.ome.zarr",
    "stopped.ome.zarr",
    "training",
)
CHANNELS = ["--vessels-channel", "vessels", "--nuclei-channel", "nuclei"]


def make(folder: Path) -> None:
    """Make them all: a tiny model, 440 x 640 px with two channels, a result and one half-made.

    And a training that was stopped after its second step of four.
    """
    import jobs
    import training_data
    import trainings

    from napari_damm.dataset import SlideSource
    from napari_damm.events import ShardDone, TrainStep
    from napari_damm.train import fine_tune

    jobs.make(folder)
    jobs.quick_first_stages()
    jobs.run(folder, folder / RESULT)
    events = jobs.predict(folder, folder / STOPPED)
    for event in events:
        if isinstance(event, ShardDone):
            break
    events.close()  # type: ignore[attr-defined]
    slide = SlideSource(training_data.write_slide(folder / "to_learn.ome.tif"))
    events = fine_tune(slide, folder / MODEL, trainings.config(), folder / TRAINING)
    for event in events:
        if isinstance(event, TrainStep) and event.step == 2:
            break
    events.close()  # type: ignore[attr-defined]


def good(name: str, folder: Path, as_name: str | None = None) -> Path:
    """Copy one of them into a case's folder, and return where it is."""
    source, target = Path(os.environ[FOLDER]) / name, folder / (as_name or name)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def predict(folder: Path, *more: str, section: str | None = None) -> list[str]:
    """Return a command line that predicts the good section (or another) with the good model."""
    if section is None:
        section = good(SECTION, folder).name
    model = good(MODEL, folder).name
    channels = [] if "--vessels-channel" in more else CHANNELS
    out = [] if "--out" in more else ["--out", "out.ome.zarr"]
    return ["predict", section, "--model", model, "--steps", "1", *channels, *out, *more]
