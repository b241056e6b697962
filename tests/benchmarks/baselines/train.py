"""Train a baseline network on simulated sections, on one core.

Run: python -m tests.benchmarks.baselines.train --kind unet|gan --out FILE.safetensors
         [--minutes 14 | --steps N] [--seed 0] [--sections 200] [--batch-size 4] [--crop-size 128]
         [--resume] [--float32]

1. Sections of training seeds are simulated (a second for four); this is not counted as training.
2. Steps: a batch, an update, the running mean of the weights. The learning rate follows the share
   of the time (or steps) used: it rises at first, then falls to zero along a cosine. Time is the
   processor's, so that other programs on the machine make a training longer, not worse.
3. Every minute, and when it stops for whatever reason, everything goes to FILE.state.pt; --resume
   goes on there. Both files belong outside the repository.
4. At the end the running mean of the weights gets the statistics of its batch norms anew (those of
   single steps, averaged, do not fit it: 1.8 dB worse after 300 steps) and goes to FILE.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from napari_damm.util.files import written_whole

from .gan import Adversarial
from .sections import DataConfig, draw_batch, simulate_sections
from .unet import FEATURES, Regression, build_unet
from .weights import save_network

LEARNERS: dict[str, type[Regression] | type[Adversarial]] = {"unet": Regression, "gan": Adversarial}
RATES = {"unet": 1e-3, "gan": 4e-4}
WARM_UP = 0.03
EMA_DECAY = 0.99
CALIBRATION_BATCHES = 64
SAVE_EVERY_S = 60.0
PRINT_EVERY = 50


@dataclass(frozen=True)
class Step:
    """One step done: its number from 1, processor seconds so far, share used (0..1), losses."""

    number: int
    seconds: float
    share: float
    losses: dict[str, float]


@dataclass(frozen=True)
class Training:
    """What is trained, and for how long: `steps` where given, else processor `minutes`."""

    kind: str
    minutes: float = 14.0
    steps: int | None = None
    seed: int = 0
    bf16: bool = True
    features: tuple[int, ...] = FEATURES
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.kind not in LEARNERS:
            raise ValueError(f"kind must be one of {', '.join(LEARNERS)}, got {self.kind!r}")
        if self.minutes <= 0 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"minutes and steps must be positive, got {self}")

    def done(self, number: int, seconds: float, losses: dict[str, float]) -> Step:
        """Return step `number` with the share of the training that is over after it."""
        used = number / self.steps if self.steps else seconds / (60 * self.minutes)
        return Step(number, seconds, min(used, 1.0), losses)


def train(config: Training, out: Path, resume: bool = False) -> Iterator[Step]:
    """Train and write `out`; the state is kept beside it when the generator is closed.

    Raises
    ------
    ValueError
        If `resume` finds the state of another training.
    OSError
        If there is no state to resume, or a file cannot be written.
    """
    torch.manual_seed(config.seed)
    learner = LEARNERS[config.kind](build_unet(config.features), RATES[config.kind], config.bf16)
    average = get_ema_multi_avg_fn(EMA_DECAY)  # type: ignore[no-untyped-call]
    mean = AveragedModel(learner.net, multi_avg_fn=average)
    state_file = out.with_name(out.name + ".state.pt")
    step = _restore(state_file, config, learner, mean) if resume else Step(0, 0.0, 0.0, {})
    sections = simulate_sections(config.data)
    before, began, saved = step.seconds, time.process_time(), time.monotonic()
    learner.net.train()
    try:
        while step.share < 1:
            inputs, target = draw_batch(sections, config.data, config.seed, step.number)
            losses = learner.update(inputs, target, rate_share(step.share))
            mean.update_parameters(learner.net)
            step = config.done(step.number + 1, before + time.process_time() - began, losses)
            yield step
            if time.monotonic() - saved > SAVE_EVERY_S:
                _keep(state_file, config, step, learner, mean)
                saved = time.monotonic()
    finally:
        _keep(state_file, config, step, learner, mean)
    calibration = range(step.number, step.number + CALIBRATION_BATCHES)
    update_bn((draw_batch(sections, config.data, config.seed, k)[0] for k in calibration), mean)
    header = asdict(config) | {"step": asdict(step), "torch": torch.__version__}
    save_network(mean.module, out, header)


def rate_share(used: float) -> float:
    """Return the share (0..1) of the highest learning rate after the share `used` of training."""
    return min(1.0, 0.01 + used / WARM_UP) * 0.5 * (1 + math.cos(math.pi * used))


def _keep(path: Path, config: Training, step: Step, learner: Any, mean: AveragedModel) -> None:
    state = {"config": asdict(config), "step": asdict(step)}
    state |= {"learner": learner.state_dict(), "mean": mean.state_dict()}
    with written_whole(path) as stream:
        torch.save(state, stream)


def _restore(path: Path, config: Training, learner: Any, mean: AveragedModel) -> Step:
    """Load the state into `learner` and `mean`; return the last step done."""
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        raise ValueError(f"{path} is of another training: {state['config']}, got {asdict(config)}")
    learner.load_state_dict(state["learner"])
    mean.load_state_dict(state["mean"])
    return Step(**state["step"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and say how it goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=LEARNERS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=Training.minutes)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=Training.seed)
    parser.add_argument("--sections", type=int, default=DataConfig.sections)
    parser.add_argument("--batch-size", type=int, default=DataConfig.batch_size)
    parser.add_argument("--crop-size", type=int, default=DataConfig.crop_size)
    parser.add_argument("--float32", action="store_true", help="no bfloat16, where it is slow")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = DataConfig(sections=args.sections, batch_size=args.batch_size, crop_size=args.crop_size)
    config = Training(
        args.kind, args.minutes, args.steps, args.seed, bf16=not args.float32, data=data
    )
    for step in train(config, args.out, args.resume):
        if step.number % PRINT_EVERY == 0 or step.share == 1:
            losses = " ".join(f"{name} {value:.4f}" for name, value in step.losses.items())
            done = f"step {step.number}, {step.seconds:.0f} s, {step.share:.0%}"
            print(f"{done}: {losses}", flush=True)


if __name__ == "__main__":
    main()
