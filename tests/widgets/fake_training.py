"""`api.fine_tune` without a network, but with a real folder and a real model file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fake_job import FakeJob

from napari_damm.events import (
    Event,
    Finished,
    Preparing,
    Saved,
    TrainPlanned,
    TrainStep,
    Validated,
    ValidationTile,
)
from napari_damm.train.run_folder import LAST, STATE_FILE, TrainedModel

STEPS = 40
SIDE = 64


class FakeTrain(FakeJob):
    """Forty steps with three validations of two windows of 2 um pixels.

    The option `resume` continues where the folder says.
    """

    def __init__(self, model_file: Path) -> None:
        super().__init__()
        self.model_file = model_file
        self.modalities = ("vessels", "nuclei", "nanoparticles")
        self.gain = 0.1

    def events(self, *arguments: object, **options: object) -> Iterator[Event]:
        _, _, config, out = arguments
        return self._events(config, Path(str(out)), bool(options.get("resume")))

    def _events(self, config, out: Path, resume: bool) -> Iterator[Event]:
        self.closed.clear()
        step = 0
        if resume:
            step = json.loads((out / STATE_FILE).read_text())["step"]
        yield Preparing("measuring the images", 1, 1)
        out.mkdir(parents=True, exist_ok=True)
        scratch = config.preset is not None
        try:
            yield TrainPlanned(1, 12, 3, self.modalities, 2.0, out, {}, STEPS, steps_done=step)
            if not resume:
                yield self._validated(0, scratch)
            while step < STEPS:
                yield from self.hold(step, self._step(step))
                step += 1
                yield self._step(step)
                if step % 20 == 0:
                    self._write(config, out, step, scratch)
                    yield self._validated(step, scratch)
                    yield Saved(out / LAST, step)
        finally:
            self._write(config, out, step, scratch)
            self.closed.set()
        scores, base = self._scores(STEPS), {} if scratch else self._scores(0)
        path = self._model(config, out)
        yield Finished(TrainedModel(path, config.name, {}, scores, base, out), 75.0)

    def _step(self, step: int) -> TrainStep:
        phase = "joint" if step < 16 else "gated"
        return TrainStep(
            step, step // 10, phase, step / STEPS, 1 / (step + 1), 2 / (step + 1), 1 / (step + 1),
            seconds_left=200.0,
        )  # fmt: skip

    def _scores(self, step: int) -> dict[str, float]:
        gained = self.gain * step / STEPS
        scores = {"ssim": 0.4 + gained, "psnr": 17.0 + 10 * gained, "mse": 0.1, "r2": 0.1}
        return scores | {"r": 0.5 + gained}

    def _validated(self, step: int, scratch: bool) -> Validated:
        base = {} if scratch else self._scores(0)
        tiles = tuple(self._tile(i, step, scratch) for i in range(2))
        return Validated(step, step / STEPS, self._scores(step), base, True, tiles)

    def _tile(self, i: int, step: int, scratch: bool) -> ValidationTile:
        def flat(value: float) -> np.ndarray:
            return np.full((SIDE, SIDE), value, np.float32)

        before = None if scratch else flat(0.1)
        return ValidationTile(
            "layers", 0, SIDE * i, 2.0, (0.0, 2.0 * SIDE * i),
            flat(0.5), flat(0.6), flat(0.9), before, flat(step / STEPS),
        )  # fmt: skip

    def _model(self, config, out: Path) -> Path:
        return out / f"{config.name}.safetensors"

    def _write(self, config, out: Path, step: int, scratch: bool) -> None:
        validated = step >= 20
        if validated:
            shutil.copy(self.model_file, self._model(config, out))
        (out / LAST).touch()
        state = {
            "config": config.to_dict(),
            "base": None if scratch else "tiny",
            "data": [{"name": "layers"}],
            "step": step,
            "progress": step / STEPS,
            "finished": step == STEPS,
            "model": self._model(config, out).name if validated else None,
            "scores": self._scores(20) if validated else {},
            "base_scores": {} if scratch else self._scores(0),
        }
        (out / STATE_FILE).write_text(json.dumps(state))
