"""How soon is something to be seen, what does a megapixel cost, and do more cores help?

Run: python tests/benchmarks/scaling.py [--size 2048] [--mode fast] [--steps N] [--model FILE]
         [--lanes 1 2] [--workers 1 2] [--repeats 1] [--json FILE]

A simulated section (reserved seed), in an OME-TIFF, predicted into a store on disk.

1. Opening: import of the engine and loading of the model. Once, before all else.
2. Preview: from the call of `predict` (planning and forecast included) to the first tile, to the
   moment when every pixel of the coarsest pyramid level has been shown once, and to the end. A
   `LivePreview` is fed on the way, as a viewer would.
3. Cost: GFLOP per window, counted by torch's flop counter on the engine's own calls with one
   window: both encoders, one denoising step (encoders, gate, and the decoder of either branch), and
   the decoder. Counted are convolutions and matrix products, a multiplication and an addition as
   two; normalisation, activations and resampling are not. Per window: encode + steps x step +
   decode, with the decoder's share of each branch as in the run; x windows / megapixels.
4. Scaling: the same section in 1, 2 ... lanes, and in 1, 2 ... workers of one lane each, in shards
   of which there are at least eight. Seconds count from `Planned`. Workers compute windows on
   shard borders twice: "computed" says how many, and windows/s counts them all, without the start
   of processes (by how much the first step came later than with one worker). "Speed-up in all" is
   of the seconds, with both.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import Load, print_table, write_json

from napari_damm import api
from napari_damm.engine.config import default_samplers
from napari_damm.events import Finished, Planned, ShardDone, Step, Tile
from napari_damm.simulate import EVALUATION_SEEDS_FROM, write_section
from napari_damm.util.tiling import WINDOW

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM
    from napari_damm.slide import Slide

FEWEST_SHARDS = 8
SHARD_UNIT = 64
Numbers = dict[str, float]


class Preview:
    """Follows a job as a viewer does; knows when the coarsest level has been shown all over."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.first_tile = self.complete = self.end = 0.0
        self._preview: Any = None

    def take(self, event: object) -> None:
        """Take an event."""
        match event:
            case Planned(preview=preview, shape=shape):
                self._preview, self._shape = preview, shape
                self._seen = np.zeros(preview.np_levels[-1].shape, bool)
            case Tile(y=y, x=x, np=image):
                self._preview.add(event)
                self.first_tile = self.first_tile or self._now()
                if self._show(y, x, *image.shape):
                    self.complete = self._now()
            case ShardDone(row, col):
                self._preview.shard_done(row, col)
            case Finished():
                self.end = self._now()

    def _show(self, y: int, x: int, height: int, width: int) -> bool:
        """Note what a tile shows; whether any of it is new (background is shown from the start)."""
        factor = 2 ** (len(self._preview.np_levels) - 1)
        here = (
            slice(y // factor, -(-(y + height) // factor)),
            slice(x // factor, -(-(x + width) // factor)),
        )
        new = not self._seen[here].all()
        self._seen[here] = True
        return new

    def _now(self) -> float:
        return time.perf_counter() - self.start


def measure_preview(slide: Slide, model: DAMM, config: api.PredictConfig, store: Path) -> Numbers:
    """Predict once, as a viewer would."""
    preview, load = Preview(), Load()
    for event in api.predict(slide, model, config, store):
        preview.take(event)
    assert isinstance(event, Finished)
    record = event.result.record
    megapixels = np.prod(event.result.np.shape) / 1e6
    return {
        "first tile s": preview.first_tile,
        "full preview s": preview.complete,
        "all s": preview.end,
        "megapixels": megapixels,
        "s per megapixel": preview.end / megapixels,
        "CPU s per megapixel": load.own / megapixels,
        "windows": record["windows"],
        "multi-modal share": record["multi_modal_windows"] / record["windows"],
        "steps": len(record["timesteps"]),
        "cores taken by others": load.others,
    }


def count_flops(model: DAMM, steps: int, multi_share: float) -> Numbers:
    """Count GFLOP of one window, by part."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def counted(call: Any) -> tuple[float, Any]:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            result = call()
        return counter.get_total_flops() / 1e9, result

    image = torch.zeros(1, 1, WINDOW, WINDOW)

    first, second = (
        image.expand(-1, model.first_stage(role).config.image_channels, -1, -1)
        for role in ("primary", "secondary")
    )

    def encode() -> tuple[Any, Any, Any]:
        return *model.encode_primary(first), model.encode(second, "secondary")

    encoders, (primary, features, secondary) = counted(encode)
    t = torch.full((1,), 500)
    both, encoded = counted(lambda: model.unet.encode(primary, t, primary, secondary))
    uni, _ = counted(lambda: model.unet.decode_uni(encoded))
    multi, _ = counted(lambda: model.unet.decode_multi(encoded))
    decoder, _ = counted(lambda: model.decode(primary, primary=features, secondary=second))
    step = both + multi_share * multi + (1 - multi_share) * uni
    return {
        "encode, both images": encoders,
        "step, encoders and gate": both,
        "step, uni-modal decoder": uni,
        "step, multi-modal decoder": multi,
        "decode": decoder,
        "window": encoders + steps * step + decoder,
    }


@dataclass(frozen=True)
class Timed:
    """How long one configuration took from `Planned`: to its first step, and to the end."""

    first_step: float
    seconds: float
    computed: int
    shards: int
    others: float

    def per_second(self, base: Timed) -> float:
        """Windows per second, without the start of processes: what its first step came later."""
        return self.computed / (self.seconds - max(0.0, self.first_step - base.first_step))


def measure_time(slide: Slide, model: DAMM, config: api.PredictConfig, store: Path) -> Timed:
    """Predict once."""
    events = api.predict(slide, model, config, store)
    while not isinstance(planned := next(events), Planned):
        pass
    start, load, first_step = time.perf_counter(), Load(), None
    for event in events:
        if isinstance(event, Step) and event.done:
            first_step = first_step or time.perf_counter() - start
            window_steps = event.total
    seconds = time.perf_counter() - start
    assert isinstance(event, Finished)
    computed = window_steps // len(event.result.record["timesteps"])
    return Timed(first_step or 0.0, seconds, computed, planned.shards, load.others)


def shard_of(size: int) -> int:
    """Return the largest shard side of which a section has at least eight."""
    for side in range(size // SHARD_UNIT * SHARD_UNIT, 0, -SHARD_UNIT):
        if math.ceil(size / side) ** 2 >= FEWEST_SHARDS:
            return side
    raise ValueError(f"--size must be {2 * SHARD_UNIT} or more, got {size}")


def scale(
    slide: Slide, model: DAMM, configs: Mapping[str, api.PredictConfig], folder: Path, repeats: int
) -> dict[str, Timed]:
    """Measure every configuration in turn; the fastest round of each."""
    best: dict[str, Timed] = {}
    for _ in range(repeats):
        for name, config in configs.items():
            store = folder / "scaling.ome.zarr"
            timed = measure_time(slide, model, config, store)
            shutil.rmtree(store)
            if name not in best or timed.seconds < best[name].seconds:
                best[name] = timed
    return best


def speed_ups(times: Mapping[str, Timed]) -> dict[str, Numbers]:
    """Return rates and speed-ups; the latter refer to the first of the same kind."""
    found = {}
    for name, timed in times.items():
        kind = name.split()[-1].removesuffix("s")
        base = next(t for n, t in times.items() if n.split()[-1].removesuffix("s") == kind)
        found[name] = {
            "shards": timed.shards,
            "computed": timed.computed,
            "windows/s": timed.per_second(base),
            "speed-up": timed.per_second(base) / base.per_second(base),
            "s to first step": timed.first_step,
            "s in all": timed.seconds,
            "speed-up in all": base.seconds / timed.seconds,
            "cores taken by others": timed.others,
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=EVALUATION_SEEDS_FROM)
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lanes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)

    start = time.perf_counter()
    from napari_damm import engine  # noqa: F401  # its import is what is timed

    model = api.load_model(args.model, "cpu")
    opening = time.perf_counter() - start
    common: dict[str, Any] = {"mode": args.mode, "steps": args.steps, "device": "cpu"}
    configs = {f"{n} lane{'s' * (n > 1)}": api.PredictConfig(lanes=n, **common) for n in args.lanes}
    shard = shard_of(args.size)
    for n in args.workers:
        name = f"{n} worker{'s' * (n > 1)}"
        configs[name] = api.PredictConfig(workers=n, lanes=1, shard=shard, **common)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "section.ome.tif"
        write_section(api.simulate_slide(args.size, args.seed, "internal"), path)
        slide = api.open_slide(path)
        plain = api.PredictConfig(lanes=default_samplers("cpu"), **common)
        preview = measure_preview(slide, model, plain, Path(folder) / "preview.ome.zarr")
        rows = [["opening s", opening], *preview.items()]
        print_table("preview", ("", "number"), rows)
        flops = count_flops(model, int(preview["steps"]), preview["multi-modal share"])
        flops["per megapixel"] = flops["window"] * preview["windows"] / preview["megapixels"]
        flops["per second"] = flops["per megapixel"] / preview["s per megapixel"]
        print_table("cost", ("", "GFLOP"), list(flops.items()))
        rates = speed_ups(scale(slide, model, configs, Path(folder), args.repeats))
    head = ("", *next(iter(rates.values()), {}))
    print_table("scaling", head, [[name, *row.values()] for name, row in rates.items()])
    found = {"preview": {"opening s": opening, **preview}, "GFLOP": flops, "scaling": rates}
    write_json(args.json, vars(args), **found)


if __name__ == "__main__":
    main()
