"""The settings of a prediction, checked as far as that goes without a slide."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_damm.util.advice import Advice
from napari_damm.util.settings import DEVICES, MAX_SEED, check_settings, is_finite, setting
from napari_damm.util.tiling import SHARD

if TYPE_CHECKING:
    from napari_damm.slide import Normalisation
    from napari_damm.util.areas import Areas

EXPECTED, FAST = "expected", "fast"
STEPS = {EXPECTED: 1, FAST: 16, "draft": 8, "reference": 1000}
MODES = {
    EXPECTED: "the best guess at each place: the average of all maps that fit the images; quickest",
    FAST: "one of many maps that fit the images, with the texture of a picture; slower (16 steps)",
    "draft": "one of many maps that fit the images, roughly; twice as quick as fast (8 steps)",
    "reference": "one of many maps that fit the images, drawn as in the paper; some 60 times "
    "slower than fast (1000 steps)",
}
FULL = "full"
PRECISIONS = {
    FULL: "single precision",
    "bf16": "decoders in bfloat16, for graphics cards; off by less than a grey level of 255 on "
    "99.9 % of the pixels",
}
COMPILED_ON, COMPILING_S = "cuda", 60.0
"""Roughly: 40 to 60 s on an H100."""
ORDERS = {"rows": "from the top left", "centre": "from the centre outwards"}
LARGE_NETWORK = 50_000_000
MAX_SAMPLES = 64
POOL_BATCHES = 2
"""Full batches that a sampler takes together, so that after the gate both decoders run full."""
CUDA_BATCH, CUDA_EXPECTED_BATCH = 256, 64
"""Windows per network call; fewer where each is evaluated once, since the card waits while the
first are read, and the host after the last. So many fill a card as well: their maps are large.
"""
MOST_WINDOWS_AT_ONCE = 1024
"""A network call is padded to its batch, so that a slip of a digit would cost hours."""
MOST_WAITING = 8
"""Samples of a full batch that may wait on the host for the last: 0.5 GB of 256 windows."""
MOST_READERS = 4
"""More of them wait for Python's lock: sixteen took a whole second for 441 windows in memory."""


@dataclass(frozen=True)
class PredictConfig:
    """How to predict; `util.settings.settings_of` says what each setting is for.

    `mode` is settled when it is left out: "expected", or "fast" where `steps` are given. A model
    that predicts noise (the paper's) has no expected map and draws a "fast" one.
    `steps`, `batch_size` and `lanes` of None mean what suits mode and device. `roi` is
    (y0, x0, y1, x1) in full-resolution pixels of the vessel image, half-open; None = all. `areas`,
    in such pixels, are what is predicted of the box around them; outside them all maps are 0.
    `normalisation` None = percentiles 0.1 and 99.9 over the tissue of the whole slide.
    """

    mode: str | None = setting(
        None, "What to show.", choices=MODES, left_out="expected; fast, if steps are given"
    )
    steps: int | None = setting(
        None,
        "Denoising steps of a plausible map, if not the mode's.",
        least=1,
        most=1000,
        left_out="the mode's",
    )
    seed: int = setting(
        0, "Key of the noise; the same seed gives the same result.", least=0, most=MAX_SEED
    )
    samples: int = setting(
        1,
        "Plausible maps to draw; with several, NP std is how much they differ, pixel by pixel. The "
        "map is the expected one, or, in another mode, their mean.",
        least=1,
        most=MAX_SAMPLES,
    )
    views: int = setting(
        1,
        "Of mode expected: 1, 2, 4 or 8 turned and mirrored copies of each window, whose maps are "
        "averaged: nearer to the truth, but as many times slower.",
        one_of=(1, 2, 4, 8),
    )
    device: str = setting("auto", "What computes.", choices=DEVICES)
    precision: str = setting(FULL, "How exactly it computes.", choices=PRECISIONS)
    compiled: bool = setting(
        False,
        "Compile the network first, which takes about a minute: for large sections on an NVIDIA "
        "card. The last bits are others then.",
    )
    roi: tuple[float, float, float, float] | None = setting(
        None, "Only this region, in vessel pixels.", left_out="all", label="Region"
    )
    areas: Areas | None = setting(
        None, "Only these areas, of any outline, in vessel pixels.", left_out="all"
    )
    region_name: str | None = setting(
        None, "What people call the region, for the record.", left_out="nothing"
    )
    gamma: float = setting(
        0.5, "Confidence from which a window uses the multi-modal branch.", least=0, most=1
    )
    batch_size: int | None = setting(
        None,
        "Windows per network call.",
        least=1,
        most=MOST_WINDOWS_AT_ONCE,
        left_out="what suits the device",
    )
    lanes: int | None = setting(
        None, "Network calls at once.", least=1, left_out="what suits the device"
    )
    workers: int = setting(
        1,
        "Processes on this machine, each with parts of the section of its own; they need a result "
        "on disk. Windows where parts meet are computed by both neighbours (13 % more of them).",
        least=1,
    )
    strict: bool = setting(
        False,
        "Stop when memory runs out, rather than go on with smaller batches or on the CPU, which "
        "may change the last bits.",
    )
    shard: int = setting(
        SHARD, "Side of the regions that are computed and stored as units, in model pixels."
    )
    order: str = setting("rows", "Which parts come first.", choices=ORDERS)
    focus: tuple[float, float] | None = setting(
        None,
        "A place (y, x) in vessel pixels to begin at: its part comes first, and of each part the "
        "windows nearest to it. The result is the same.",
        left_out="at the top left",
    )
    normalisation: Normalisation | None = setting(
        None, "Intensity limits.", left_out="percentiles 0.1 and 99.9 over the tissue"
    )

    def __post_init__(self) -> None:
        """Check every value that can be checked without a slide."""
        if self.mode is None:
            object.__setattr__(self, "mode", EXPECTED if self.steps is None else FAST)
        check_settings(self)
        if self.mode == EXPECTED and self.steps not in (None, 1):
            raise ValueError(
                Advice(
                    f"must be left out in mode expected, which takes 1, got {self.steps}",
                    "leave {steps} out, or choose {mode} fast",
                    parameter="steps",
                )
            )
        if self.views > 1 and self.mode != EXPECTED:
            raise ValueError(
                Advice(
                    f"must be 1 in mode {self.mode}, got {self.views}",
                    "leave {views} out, or choose {mode} expected",
                    parameter="views",
                )
            )
        if self.focus is not None and (len(self.focus) != 2 or not all(map(is_finite, self.focus))):
            raise ValueError(
                Advice(f"must be two numbers y x, got {self.focus}", parameter="focus")
            )
        if self.roi is not None:
            _check_roi(self.roi)
            if self.areas is not None:
                raise ValueError(Advice("must be left out where areas are given", parameter="roi"))

        _check_kinds(self)

    def check_device(self, device: str) -> None:
        """Raise ValueError for what is of no use on a device."""
        if self.compiled and device != COMPILED_ON:
            raise ValueError(
                Advice(
                    f"is for NVIDIA cards, and this is computed on {device}",
                    "leave {compiled} out",
                    parameter="compiled",
                )
            )

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The region that is stored: `roi`, or the box around the areas; None for all."""
        return self.roi if self.areas is None else self.areas.bounds

    def sampler_for(self, predicts: str) -> tuple[str, int]:
        """Return mode and denoising steps for a network that `predicts` "velocity" or "noise".

        The sampler may merge some steps. From noise at the highest noise level x_0 cannot be told.
        """
        assert self.mode is not None  # since __post_init__
        if self.mode == EXPECTED and predicts == "noise":
            return FAST, STEPS[FAST]
        return self.mode, STEPS[self.mode] if self.steps is None else self.steps


def default_samplers(device: str, workers: int = 1) -> int:
    """One sampler thread per core on a CPU, shared among the workers; one on an accelerator.

    Two on CUDA: while one's windows are computed, the other's come and go.
    """
    if device == "cuda":
        return 2
    return 1 if device != "cpu" else max(1, cores() // workers)


def default_readers(device: str) -> int:
    """Threads that read windows and judge them: on CUDA one is far slower than the network."""
    return min(MOST_READERS, cores()) if device == "cuda" else 1


def pool_batches(device: str) -> int:
    """Full batches of a pool: on CUDA both decoders always run, and one batch is all there is."""
    return 1 if device == "cuda" else POOL_BATCHES


def samples_at_once(device: str, samples: int) -> int:
    """Return how many samples of a window share a batch: on CUDA they come one after the other.

    There a pool is encoded as one batch, and so many images of each window wait on the host for the
    last: of very many, fewer windows are taken together.
    """
    return 1 if device == "cuda" and samples <= MOST_WAITING else samples


def default_batch(device: str, parameters: int = 0, evaluated_once: bool = False) -> int:
    """Windows per network call, for a noise estimator of so many parameters.

    On a CPU 4 show the first tiles soon; a large network gains a tenth from 8. On CUDA there may be
    fewer (`device_memory`).
    """
    if device == "cpu":
        return 8 if parameters > LARGE_NETWORK else 4
    if device == "cuda":
        return CUDA_EXPECTED_BATCH if evaluated_once else CUDA_BATCH
    return 16


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def _check_kinds(config: PredictConfig) -> None:
    """Check what is a value of a class of its own."""
    if config.normalisation is None and config.areas is None:
        return
    from napari_damm.slide import Normalisation
    from napari_damm.util.areas import Areas

    for name, kind in (("normalisation", Normalisation), ("areas", Areas)):
        given = getattr(config, name)
        if not (given is None or isinstance(given, kind)):
            raise ValueError(
                Advice(f"must be {kind.__name__}(...), got {given!r:.100}", parameter=name)
            )


def _check_roi(roi: tuple[float, float, float, float]) -> None:
    if len(roi) != 4 or not all(is_finite(v) for v in roi):
        raise ValueError(Advice(f"must be four numbers y0 x0 y1 x1, got {roi}", parameter="roi"))
    if roi[2] <= roi[0] or roi[3] <= roi[1]:
        raise ValueError(
            Advice(f"must have y1 > y0 and x1 > x0, got {plain_roi(roi)}", parameter="roi")
        )


def plain_roi(roi: tuple[float, float, float, float]) -> str:
    """Write a region as four plain numbers."""
    return " ".join(f"{v:g}" for v in roi)
