"""Is every bit still what it was? Digests of fixed jobs, to compare before and after a change.

Run: python tests/benchmarks/digests.py [--json FILE] [--against FILE]

1. A simulated section, as pixels.
2. Predictions of 832 px in mode draft with the bundled model: one lane, two lanes, two worker
   processes, a region, two samples. One digest each of np, uncertainty and branch.
3. The weights after 20 training steps of a tiny model on one simulated section.
4. The authors' reference network: noise of both branches and a 10-step sample.

Bits depend on processor and library versions: compare digests of one machine only. Exit code 1
where `--against` names a file with other digests.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import napari_damm
from napari_damm import PredictConfig, TrainConfig
from napari_damm.api import SimulatedSource
from napari_damm.sampling import sample_ddim
from napari_damm.schedule import NoiseSchedule
from napari_damm.simulate import simulate_slide, write_section

JOBS: dict[str, dict[str, object]] = {
    "one lane": {"lanes": 1},
    "two lanes": {"lanes": 2},
    "two workers": {"workers": 2, "shard": 512},
    "a region": {"roi": (100, 50, 700, 640)},
    "two samples": {"samples": 2},
}


def main() -> int:
    """Print a line per digest; compare them where that was asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="digests-") as place:
        for name, value in digests(Path(place)):
            found[name] = value
            print(f"{value[:16]}  {name}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    if options.against is None:
        return 0
    before = json.loads(options.against.read_text())
    changed = [name for name in before if found.get(name) != before[name]]
    print(f"{len(before) - len(changed)} of {len(before)} as before", *changed, sep="\n  changed: ")
    return 1 if changed else 0


def digests(place: Path) -> Iterator[tuple[str, str]]:
    """Yield a name and a SHA-256 for everything that must not change."""
    section = place / "section.ome.tif"
    simulated = simulate_slide(832, 10_000, "internal")
    yield "simulated section", sha256(*simulated.channels().values())
    write_section(simulated, section)
    slide = napari_damm.open_slide(section, vessels_channel="vessels", nuclei_channel="nuclei")
    for name, settings in JOBS.items():
        config = PredictConfig(mode="draft", device="cpu", **settings)  # type: ignore[arg-type]
        store = place / f"{name}.ome.zarr" if "workers" in settings else None
        *_, last = napari_damm.predict(slide, None, config, store)
        for part in ("np", "uncertainty", "branch"):
            yield f"{name}: {part}", sha256(as_stored(part, getattr(last.result, part).compute()))
    yield "weights after 20 steps", trained(place)
    yield from authors()


def as_stored(part: str, values: np.ndarray) -> np.ndarray:
    """Give a map the type that it has in the store: all but `branch` are kept as float16."""
    return values if part == "branch" else values.astype(np.float16)


def trained(place: Path) -> str:
    """Return the digest of a model file's tensors after 20 steps."""
    config = TrainConfig(
        name="digest", preset="tiny", epochs=5, batch_size=4, first_stage_steps=4, variants=2,
        validations=1, validation_windows=1, device="cpu",
    )  # fmt: skip
    data = SimulatedSource(1, size=832, first_seed=7)
    torch.manual_seed(0)
    *_, last = napari_damm.fine_tune(data, None, config, place / "training")
    model = napari_damm.load_model(last.result.path)
    state = model.state_dict()
    return sha256(*(state[name].numpy() for name in sorted(state)))


def authors() -> Iterator[tuple[str, str]]:
    """Yield digests of the reference network's outputs."""
    from safetensors.torch import load_file

    from napari_damm.model_file.import_authors import from_state_dict

    reference = Path(__file__).parents[1] / "reference"
    model = from_state_dict(load_file(reference / "weights.safetensors"))
    io = load_file(reference / "io.safetensors")
    x_t, t = io["unet.x_t"], io["unet.t"]
    conditions = (io["latent.vessels"], io["latent.nuclei"])
    with torch.inference_mode():
        out = model.predict_noise(x_t, t, *conditions)
        x_0 = sample_ddim(
            lambda x, s: model.predict_noise(x, s, *conditions).eps_multi, x_t, NoiseSchedule(), 10
        )
    yield "authors: noise", sha256(out.eps_uni, out.eps_multi, out.confidence)
    yield "authors: ten steps", sha256(x_0)


def sha256(*arrays: np.ndarray | torch.Tensor) -> str:
    """Hash arrays, their shapes and types included."""
    hashed = hashlib.sha256()
    for array in arrays:
        values = np.ascontiguousarray(array)
        hashed.update(f"{values.shape}{values.dtype}".encode())
        hashed.update(values.tobytes())
    return hashed.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
