"""What do the parts of the model bring? Trains it with and without each, alike otherwise.

Run: python tests/benchmarks/ablations.py --base FILE --settings FILE --out DIR [--epochs 6]
         [--only NAME ...] [--latents DIR] [--resume]

Every variant keeps the base's autoencoders and starts from its noise estimator, but for all that
joins the two branches: fusions and attention are made anew in each, in the full model too. All see
the same sections in the same order for the same number of steps, few enough to be trained on a
processor: read the differences, not the scores.

1. full: the architecture of the model given.
2. no MMFM: the features of both branches are joined by a 1x1 convolution instead.
3. no UAFM: plain cross-attention, never damped by the confidence.

`--latents` takes another training's folder of latents of the same data, so that nothing is encoded
twice. The models come out as DIR/NAME/NAME.safetensors; `tests/benchmarks/results.py --ablation
NAME=FILE` judges them.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from napari_damm import api
from napari_damm.events import TrainPlanned, TrainStep, Validated
from napari_damm.model.damm import DAMM, ROLES
from napari_damm.train.config import TrainConfig
from napari_damm.train.settings_file import read_settings

JOINTS = ("fusions.", "attention.")
VARIANTS: dict[str, dict[str, str]] = {
    "full": {},
    "no-mmfm": {"fusion": "concat"},
    "no-uafm": {"attention": "plain"},
}


def variant(base: DAMM, changes: dict[str, str]) -> DAMM:
    """Return the base with joints made anew, differing from it in `changes`."""
    torch.manual_seed(0)
    made = DAMM(replace(base.config, unet=replace(base.config.unet, **changes)), base.card)
    for role in ROLES:
        made.first_stage(role).load_state_dict(base.first_stage(role).state_dict())
    kept = {k: v for k, v in base.unet.state_dict().items() if not k.startswith(JOINTS)}
    made.unet.load_state_dict({**made.unet.state_dict(), **kept})
    if base.detail is not None:
        made.detail.load_state_dict(base.detail.state_dict())
    return made.eval()


def link_latents(source: Path | None, folder: Path) -> None:
    """Let a training in `folder` use the latents that another has kept."""
    if source is None or (folder / "latents").exists():
        return
    (folder / "latents").mkdir()
    for file in source.glob("*.bin"):
        os.link(file, folder / "latents" / file.name)


def train(name: str, base: DAMM, args: argparse.Namespace) -> None:
    """Train one variant to its end, and print how it comes on."""
    settings = read_settings(args.settings)
    wishes = {k: v for k, v in (settings.values or {}).items() if k not in ("minutes", "preset")}
    wishes.pop("recipe", None)
    config = TrainConfig(**{**wishes, "name": name, "epochs": args.epochs, "validations": 1})
    out = args.out / name
    resume = args.resume and out.exists()
    model = None if resume else variant(base, VARIANTS[name])
    for event in api.fine_tune(settings.sources, model, config, out, resume):
        if isinstance(event, TrainPlanned):
            link_latents(args.latents, out)
        elif isinstance(event, TrainStep) and event.step % 50 == 0:
            print(f"{name} step {event.step}: loss {event.loss:.4f}", flush=True)
        elif isinstance(event, Validated):
            print(f"{name} step {event.step}: {event.scores}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--settings", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args(arguments)
    base = api.load_model(args.base, "cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        train(name, base, args)


if __name__ == "__main__":
    main()
