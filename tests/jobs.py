"""A small job for tests of the whole engine, in files, so that other processes can run it too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from models import CARD, random_model, tiny_config, velocity_model
from torch import Tensor

from napari_damm import api
from napari_damm.events import Event, Finished, Planned, ShardDone, Step, Tile

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

SHAPE = (440, 640)
GAMMA = 0.5215
"""Of the six windows, three take each branch (with `quick_first_stages`)."""
QUICK = {"steps": 2, "batch_size": 2, "lanes": 1, "shard": 256, "gamma": GAMMA}


def make(folder: Path, shape: tuple[int, int] = SHAPE) -> Path:
    """Write section.ome.tif (two channels of 1 um pixels) and tiny.safetensors."""
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 4000, (2, *shape), np.uint16)
    size = {"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "µm"}
    size |= {"PhysicalSizeY": 1.0, "PhysicalSizeYUnit": "µm"}
    names = {"Channel": {"Name": ["vessels", "nuclei"]}}
    metadata = {"axes": "CYX", **names, **size}
    section = folder / "section.ome.tif"
    tifffile.imwrite(section, planes, ome=True, metadata=metadata, photometric="minisblack")
    write_model(folder / "tiny.safetensors")
    return folder


def make_with_expected_map(folder: Path) -> Path:
    """As `make`, with a model that has an expected map."""
    from napari_damm.model_file import save_model

    make(folder)
    save_model(velocity_model(), folder / "tiny.safetensors", CARD)
    return folder


def write_model(path: Path, seed: int = 0) -> None:
    """Write a model of random weights."""
    from napari_damm.model_file import save_model

    save_model(random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)), seed), path, CARD)


def quick_first_stages(patch: Callable[[Any, str, Any], object] = setattr) -> None:
    """Let plain pooling stand for the autoencoders, which take nine tenths of the time.

    Engine, schedule, gate and U-Net stay as they are.
    """
    from torch.nn.functional import avg_pool2d, interpolate

    from napari_damm.model.damm import DAMM

    def encode(self: DAMM, image: Tensor, modality: str) -> Tensor:
        factor = self.config.latent_factor
        return avg_pool2d(image, factor).expand(-1, 4, -1, -1).contiguous()

    def decode(
        self: DAMM,
        z: Tensor,
        modality: str | None = None,
        primary: object = None,
        secondary: object = None,
    ) -> Tensor:
        return interpolate(z[:, :1], scale_factor=self.config.latent_factor)

    patch(DAMM, "encode", encode)
    patch(DAMM, "decode", decode)


def predict(
    folder: Path, out: Path | None, resume: bool = False, client: Any = None, **wishes: Any
) -> Iterator[Event]:
    """The events of the job in `folder`; `wishes` change its configuration."""
    config = api.PredictConfig(**QUICK | wishes)
    slide = api.open_slide(folder / "section.ome.tif")
    model = _model(folder / "tiny.safetensors")
    return api.predict(slide, model, config, store=out, client=client, resume=resume)


def _model(path: Path) -> DAMM:
    """Load a model file, once as long as it stays as it is: a third of a small job's time."""
    return _loaded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _loaded(path: Path, _changed: int) -> DAMM:
    return api.load_model(path)


def run(folder: Path, out: Path | None, resume: bool = False, **wishes: Any) -> list[Event]:
    """Run the job to its end and return all events."""
    return list(predict(folder, out, resume, **wishes))


def digest(events: list[Event]) -> str:
    """The digest of the result that a run ended with."""
    assert isinstance(events[-1], Finished)
    return events[-1].result.digest()


def of(kind: type, events: list[Event]) -> list[Any]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def assert_steps_add_up(events: list[Event]) -> None:
    """Progress stays within its total and ends there; so do the counts of shards."""
    planned, steps = of(Planned, events)[0], of(Step, events)
    assert all(0 <= step.done <= step.total for step in steps)
    assert not steps or steps[-1].done == steps[-1].total
    shards = [event.shards_done for event in of(ShardDone, events)]
    assert shards == list(range(planned.shards_done + 1, planned.shards + 1))


def tiles_computed(events: list[Event]) -> int:
    """How many windows a run computed."""
    return len(of(Tile, events))


def threads_left() -> list[str]:
    """Names of the engine's threads that are alive."""
    return [t.name for t in threading.enumerate() if t.name.startswith("napari-damm")]


def options(folder, out, *more):
    model = ["--model", str(folder / "tiny.safetensors"), "--steps", "2"]
    return ["predict", str(folder / "section.ome.tif"), "--out", str(out), *model, *more]
