"""A training in pieces of a few minutes each, for a machine that is lent for no longer.

Run, again and again: python tests/benchmarks/train_bundled.py --out DIR [--minutes-now 9]
                          [--config tests/benchmarks/bundled.toml] [--device cuda]

1. Where DIR holds a training it is gone on with, else the one of the settings file is begun.
2. After `--minutes-now` it is stopped between two steps, and saved: DIR is all that has to be kept.
3. The time limit of the settings file is that of all pieces together. Exit code 0: finished; 3:
   there is more to do.

Sections are drawn anew in every piece (by processes of one thread each), and what was read before
the first step counts for the piece, not for the training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from napari_damm import api
from napari_damm.events import TrainStep
from napari_damm.train.config import TrainConfig
from napari_damm.train.run_folder import read_training
from napari_damm.train.settings_file import read_settings

MORE_TO_DO = 3
SETTINGS = Path(__file__).with_name("bundled.toml")


def piece(
    settings: Path,
    out: Path,
    seconds: float,
    device: str = "auto",
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Train for so long from now; return whether the training is finished."""
    until = clock() + seconds
    written = read_settings(settings)
    config = TrainConfig.from_dict({**(written.values or {}), "device": device})
    begun = out.exists() and read_training(out) is not None
    base = None if begun else written.base
    sources = list(written.sources)
    last = None
    with closing(api.fine_tune(sources, base, config, out, resume=begun)) as events:
        for event in events:
            if isinstance(event, TrainStep):
                last = event
            if clock() > until:
                break
        else:
            return True
    print("nothing learnt yet" if last is None else f"step {last.step}: {last.progress:.1%}")
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one piece."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=SETTINGS)
    parser.add_argument("--minutes-now", type=float, default=9.0)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(arguments)
    finished = piece(args.config, args.out, 60 * args.minutes_now, args.device)
    print("finished" if finished else "run it again to go on")
    return 0 if finished else MORE_TO_DO


if __name__ == "__main__":
    sys.exit(main())
