"""Train the bundled model on simulated sections, in resumable stages.

    python tests/benchmarks/train_bundled.py WORK_DIR [--sections 24] [--seconds 540]

1. Simulate sections of training seeds (never evaluation seeds) and normalise them as Predict does.
2. Train a first stage on all modalities, then one per modality from it.
3. Cache the latents of windows.
4. Train the noise estimator, joint then gated.
5. Write `WORK_DIR/small.safetensors`.

Each call goes on where the last one stopped and ends after `--seconds`; exit code 3 means that
there is more to do. Checkpoints live in WORK_DIR, outside the source tree.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from napari_damm.first_stage_training import (
    FirstStageConfig,
    scale_to_unit_spread,
    train_first_stage,
)
from napari_damm.model.damm import DAMM, ROLES, DAMMConfig
from napari_damm.model.vqgan import VQGAN
from napari_damm.simulate import PIXEL_SIZE_UM, simulate_slide, training_seed
from napari_damm.train import Latents, TrainConfig, encode_windows, train_noise_estimator
from napari_damm.train_state import TrainState

SECTION_PX = 2048
WINDOW_PX = 256
CROP_PX, CROPS = 96, 12
SHARED = FirstStageConfig(steps=400, warmup_steps=180, learning_rate=1e-3, codebook_weight=0.25)
EACH = FirstStageConfig(steps=180, warmup_steps=0, learning_rate=5e-4, codebook_weight=0.25)
NOISE = (
    # small crops first: most of what there is to learn, at a quarter of the cost
    TrainConfig(
        steps=6200, gated_from=6200, batch_size=8, crop=16, learning_rate=8e-4, weight_limit=20.0
    ),
    TrainConfig(
        steps=1100,
        gated_from=250,
        batch_size=4,
        learning_rate=3e-4,
        confidence_weight=0.05,
        weight_limit=20.0,
        seed=1,
    ),
)


HISTORY = (
    "The first file was trained while these settings were still being found: the shared start of "
    "the first stages saw sections of the simulator's last draft; of the 6200 steps on crops the "
    "first 1268 weighed all timesteps alike, and the first 2360 or so had batches of 16."
)


class OutOfTime(Exception):
    """This call's share of the work is done; the next one goes on."""


def main() -> int:
    """Run the stages until done or out of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sections", type=int, default=26)
    parser.add_argument("--windows", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--metrics", type=Path, help="JSON of accuracy.py, to put on the card")
    parser.add_argument("--only", choices=["simulate", "latents"])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    clock = Clock(args.seconds)
    try:
        for index in range(args.sections):
            simulate(args.work, index, clock)
        if args.only == "simulate":
            return 0
        paths = [section_path(args.work, k) for k in range(args.sections)]
        sections = [np.load(path, mmap_mode="r") for path in paths]
        model = DAMM(DAMMConfig.small(), card(args.sections))
        train_first_stages(args.work, model, sections, clock)
        latents = cache_latents(args.work, model, sections, args.windows, clock)
        if args.only == "latents":
            return 0
        train_unet(args.work, model, latents, clock)
    except OutOfTime:
        return 3
    export(args.work, model, args.metrics)
    return 0


class Clock:
    """Raises OutOfTime once the seconds are used up."""

    def __init__(self, seconds: float) -> None:
        self.start, self.seconds = time.monotonic(), seconds

    def check(self) -> None:
        """Stop here if the time is used up."""
        if time.monotonic() - self.start > self.seconds:
            raise OutOfTime

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start


def section_path(work: Path, index: int) -> Path:
    """Where a normalised section (3, y, x) float16 lies."""
    return work / f"section_{index:03d}.npy"


def simulate(work: Path, index: int, clock: Clock) -> None:
    """Simulate and normalise section `index` unless it exists."""
    path = section_path(work, index)
    if path.exists():
        return
    clock.check()
    slide = simulate_slide(SECTION_PX, training_seed(index), "internal")
    planes = []
    for image in (slide.vessels, slide.nuclei, slide.nanoparticles):
        low, high = np.percentile(image[::2, ::2], (0.1, 99.9))
        planes.append(np.clip((image - low) / (high - low), 0, 1) * 2 - 1)
    part = path.with_suffix(".part.npy")
    np.save(part, np.stack(planes).astype(np.float16))
    part.rename(path)
    print(f"simulated {index} ({clock.spent:.0f} s)", flush=True)


def crops(sections: list[np.ndarray], roles: list[int], step: int) -> Tensor:
    """Draw random crops (n, 1, px, px) of the given channels, turned and flipped at random."""
    rng = np.random.default_rng(step)
    out = np.empty((CROPS, 1, CROP_PX, CROP_PX), np.float32)
    for k in range(CROPS):
        section = sections[rng.integers(len(sections))]
        y, x = rng.integers(0, SECTION_PX - CROP_PX, 2)
        role = roles[k % len(roles)]
        crop = section[role, y : y + CROP_PX, x : x + CROP_PX].astype(np.float32)
        crop = np.rot90(crop, rng.integers(4))
        out[k, 0] = crop[::-1] if rng.integers(2) else crop
    return torch.from_numpy(out)


def train_first_stages(work: Path, model: DAMM, sections: list[np.ndarray], clock: Clock) -> None:
    """Train the shared start, then each role's own first stage; fill `model`."""
    shared = VQGAN(model.config.first_stages[0])
    torch.manual_seed(0)
    run_first_stage(work / "shared.ckpt", shared, (sections, [0, 1, 2]), SHARED, clock)
    for k, role in enumerate(ROLES):
        stage = model.first_stage(role)
        stage.load_state_dict(shared.state_dict())
        done = work / f"{role}.safetensors"
        if not done.exists():
            run_first_stage(work / f"{role}.ckpt", stage, (sections, [k]), EACH, clock)
            with torch.no_grad():
                z = torch.cat([stage.encode(crops(sections, [k], 10**6 + i)) for i in range(8)])
            scale_to_unit_spread(stage, float(z.std()))
            save_file(stage.state_dict(), done)
        stage.load_state_dict(load_file(done))
        stage.eval()


def run_first_stage(
    path: Path,
    stage: VQGAN,
    data: tuple[list[np.ndarray], list[int]],
    config: FirstStageConfig,
    clock: Clock,
) -> None:
    """Train one first stage, resuming from and saving to `path`."""
    state = TrainState(stage, config.learning_rate)
    if path.exists():
        state.load(path)
    steps = train_first_stage(stage, lambda step: crops(*data, step), config, state)
    follow(steps, path, state, clock)


def follow(steps: Iterator[object], path: Path, state: TrainState, clock: Clock) -> None:
    """Drain a training, log it, save it every minute, at its end and when time is up."""
    saved = time.monotonic()
    recent: list[dict[str, float]] = []
    for step in steps:
        recent.append({k: v for k, v in vars(step).items() if isinstance(v, float | int)})
        if state.step % 50 == 0:
            means = {k: round(float(np.mean([r[k] for r in recent])), 4) for k in recent[0]}
            print(f"{path.stem} {state.step} {clock.spent:.0f}s {json.dumps(means)}", flush=True)
            recent.clear()
        if time.monotonic() - saved > 60:
            state.save(path)
            saved = time.monotonic()
            clock.check()
    state.save(path)


def cache_latents(
    work: Path, model: DAMM, sections: list[np.ndarray], count: int, clock: Clock
) -> Latents:
    """Encode `count` random windows, turned and flipped at random."""
    for part in range(count // 100):
        name = work / f"latents_part_{part:03d}.safetensors"
        if name.exists():
            continue
        clock.check()
        rng = np.random.default_rng(10**7 + part)
        windows = np.empty((100, 3, WINDOW_PX, WINDOW_PX), np.float32)
        for k in range(100):
            y, x = rng.integers(0, SECTION_PX - WINDOW_PX, 2)
            section = sections[(part * 100 + k) % len(sections)]
            window = section[:, y : y + WINDOW_PX, x : x + WINDOW_PX].astype(np.float32)
            window = np.rot90(window, rng.integers(4), (1, 2))
            windows[k] = window[:, ::-1] if rng.integers(2) else window
        latents = encode_windows(model, torch.from_numpy(windows))
        save_file({k: v.half() for k, v in latents._asdict().items()}, name.with_suffix(".part"))
        name.with_suffix(".part").rename(name)
        print(f"latents {part} ({clock.spent:.0f} s)", flush=True)
    loaded = [
        load_file(work / f"latents_part_{part:03d}.safetensors") for part in range(count // 100)
    ]
    return Latents(*(torch.cat([part[role] for part in loaded]).float() for role in ROLES))


def train_unet(work: Path, model: DAMM, latents: Latents, clock: Clock) -> None:
    """Train the noise estimator through its stages of crop size."""
    torch.manual_seed(1)
    for k, config in enumerate(NOISE):
        path = work / f"unet_{k}.ckpt"
        state = TrainState(model.unet, config.learning_rate, config.average)
        if path.exists():
            state.load(path)
        follow(train_noise_estimator(model, latents, config, state), path, state, clock)
        state.use_average()


def card(sections: int) -> dict[str, object]:
    """What the model file says of itself."""
    return {
        "name": "small",
        "modalities": ["vessels", "nuclei", "nanoparticles"],
        "pixel_size_um": PIXEL_SIZE_UM,
        "intensity_reference": {"kind": "percentile", "low": 0.1, "high": 99.9},
        "training_data": {
            "kind": "simulated",
            "description": "simulated tumour sections only, no real tissue",
            "sections": sections,
            "section_px": SECTION_PX,
            "preset": "internal",
            "seeds": [training_seed(0), training_seed(sections - 1)],
        },
        "training": {
            "first_stage": [dataclasses.asdict(SHARED), dataclasses.asdict(EACH)],
            "noise_estimator": [dataclasses.asdict(config) for config in NOISE],
            "lpips": False,
            "discriminator": False,
            "history": HISTORY,
        },
        "licence": "BSD-3-Clause",
    }


def export(work: Path, model: DAMM, metrics: Path | None) -> None:
    """Write the one-file model, with what accuracy.py measured of it."""
    from napari_damm.model_file import save_model

    if metrics is not None:
        report = json.loads(metrics.read_text())
        model.card["metrics"] = {
            "data": f"{report['arguments']['sections']} simulated sections of reserved seeds from "
            f"{report['arguments']['first_seed']}, {report['arguments']['size']} px, preset "
            f"{report['arguments']['preset']}, mode {report['arguments']['mode']}",
            "mean": {name: round(value, 4) for name, value in report["mean"].items()},
        }
    path = save_model(model.eval(), work / "small.safetensors")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
