"""The job record: all that determines a result, and where it was made.

1. `job_record` is saved with every result.
2. Two runs are the same job if the entries of `KEY` agree; `differences` names those that do not.
   Whether the run was split over threads, processes or machines is no part of the job.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.planning import Plan
from napari_damm.slide import Slide
from napari_damm.slide.identity import ALL_BYTES, without_times

if TYPE_CHECKING:
    from napari_damm.engine.setup import Sampling
    from napari_damm.model.damm import DAMM

KEY = (
    "input", "model", "mode", "steps", "timesteps", "start", "views", "seed", "samples",
    "spread_factor", "gamma", "batch_size", "precision", "compiled", "roi", "areas",
    "pixel_size_um", "slide_pixel_size_um", "lattice", "normalisation", "device",
)  # fmt: skip
# What older records lack.
_UNSTATED = {
    "samples": 1, "spread_factor": 1.0, "start": "noise", "views": 1, "precision": "full",
    "compiled": False,
}  # fmt: skip
# A file may be moved, and a model renamed, without becoming another.
_NOT_KEY = {
    ("input", "path"), ("input", "name"), ("model", "name"), ("model", "warning"),
    ("model", "training_data"), ("areas", "name"),
}  # fmt: skip


def job_record(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    planned: Plan,
    sampling: Sampling,
    device: str,
) -> dict[str, Any]:
    """Return the record of a job that is about to start, as plain JSON values."""
    import torch

    from napari_damm.model_file import content_hash, model_name, trained_on, warning_of
    from napari_damm.util.version import __version__

    lattice = planned.lattice
    return {
        "input": dict(slide.identity),
        "model": {
            "name": model_name(model),
            "sha256": model.card.get("sha256") or content_hash(model),
            "modalities": list(model.card["modalities"]),
            "training_data": trained_on(model.card),
            **({"warning": warning_of(model.card)} if warning_of(model.card) else {}),
        },
        "mode": sampling.mode,
        "steps": sampling.steps,
        "timesteps": sampling.timesteps(),
        "start": sampling.start,
        "views": sampling.views,
        "seed": sampling.seed,
        "samples": sampling.samples,
        "spread_factor": sampling.spread_factor,
        "gamma": sampling.gamma,
        "batch_size": sampling.batch_size,
        "precision": sampling.precision,
        "compiled": sampling.compiled,
        "roi": None if config.roi is None else list(config.roi),
        "areas": None if config.areas is None else config.areas.to_json(),
        **({"region_name": config.region_name} if config.region_name else {}),
        "pixel_size_um": planned.model_um,
        "slide_pixel_size_um": slide.pixel_size_um,
        **({"stated_pixel_size_um": list(stated)} if (stated := slide.stated_pixel_um) else {}),
        "lattice": {"window": lattice.window, "stride": lattice.stride, "shape": lattice.shape},
        "normalisation": asdict(planned.normalisation),
        "device": device,
        "versions": {
            "napari-damm": __version__,
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.system()} {platform.machine()}",
        "started": now(),
        "finished": None,
    }


def now() -> str:
    """Return the time for people and programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name, for people, in what two jobs differ: "seed is 0 there and 1 here"."""
    there, here = dict(stored), json.loads(json.dumps(dict(wanted)))
    before, now_given = there.get("input") or {}, here.get("input") or {}
    there["input"] = without_times(before, now_given)
    here["input"] = without_times(now_given, before)
    pairs = ((name, there.get(name, _UNSTATED.get(name)), here.get(name)) for name in KEY)
    return [difference for name, a, b in pairs for difference in _differences(name, a, b)]


def version_changes(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name libraries that changed between two runs: harmless but for the last bits."""
    before, after = stored.get("versions", {}), wanted.get("versions", {})
    return [
        f"{name} {before[name]} -> {version}"
        for name, version in after.items()
        if name in before and before[name] != version
    ]


def doubts(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Say what speaks against going on with the same job, though nothing is known to differ."""
    yield from _written_anew(stored, wanted)
    if changed := version_changes(stored, wanted):
        yield f"versions changed since it began ({', '.join(changed)}): the last bits may differ"


def _written_anew(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """Name files that were written since, and are too large to have been compared whole."""
    before, now_given = stored.get("input") or {}, wanted.get("input") or {}
    told = set()
    for role, entry in now_given.items():
        earlier = before.get(role) if isinstance(before, Mapping) else None
        if not (isinstance(entry, Mapping) and isinstance(earlier, Mapping)):
            continue
        same_time = earlier.get("mtime_ns") == entry.get("mtime_ns")
        parts = entry.get("hashed")
        if "path" not in entry or same_time or parts == ALL_BYTES or entry["path"] in told:
            continue
        told.add(entry["path"])
        yield (
            f"{entry['path']} was written since this result began, and only {parts} were "
            "compared: if anything in it was edited, begin the result anew"
        )


def _differences(name: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        top = name.split()[0]
        for key in dict.fromkeys([*a, *b]):
            if (top, key) not in _NOT_KEY:
                yield from _differences(f"{name} {key}", a.get(key), b.get(key))
    elif a != b:
        yield f"{name} is {_short(a)} there and {_short(b)} here"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
