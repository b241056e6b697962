"""Train the bundled model, from endless simulated sections: minutes on a graphics card.

Run: PYTHONPATH=src python tests/benchmarks/train_bundled.py --out FILE.safetensors
         [--minutes 6.6] [--work FILE.pt --minutes-now 5] [--unet FILE --unet-minutes 1.4]

1. Processes of one thread each draw sections of training seeds (two thirds preset varied, one
   third internal; never external) for as long as the training runs. They lie on the card.
2. Windows at random places, turned at random, are encoded by the autoencoders that new models start
   with; their latents lie in a bank that is renewed all the time (`bundled.sections`).
3. What a step learns, and when: `bundled.learner`, `bundled.training`.
4. The averaged weights get statistics of their own, are written, and compared with those of --base.

With --work all that is needed to go on is kept there: started again, it goes on, and --minutes-now
ends it before it is finished (exit code 3: there is more to do). How fast sections come and how
many steps a minute has depends on the machine: no two trainings are the same.

With --unet the regression U-Net of the baselines learns from the same sections afterwards.

On a processor all is the same, and slow. To see that it runs: --device cpu --minutes 0.5
--processes 1 --batch 8 --windows 2 --bank 256 --renewed 4 --sections 20 --first 3.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch
from bundled.judging import judged
from bundled.sections import drawn_sections
from bundled.settings import Settings
from bundled.training import Training

from napari_damm import api
from napari_damm.model_file import save_model

MORE_TO_DO = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write and judge; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="file that keeps the training, to go on from")
    parser.add_argument("--minutes-now", type=float, default=float("inf"))
    parser.add_argument("--unet", type=Path, help="train the baselines' regression U-Net too")
    parser.add_argument("--unet-minutes", type=float, default=1.4)
    parser.add_argument("--base", default="small", help="what it is compared with")
    parser.add_argument("--judge", type=int, default=4, help="on so many sections of each preset")
    for each in fields(Settings):
        kind = type(each.default)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    parser.set_defaults(processes=max(1, (os.cpu_count() or 2) - 1))
    args = parser.parse_args(arguments)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    settings = Settings(**{each.name: getattr(args, each.name) for each in fields(Settings)})
    training = Training(settings, args.work)
    with drawn_sections(settings, training.pieces) as sections:
        if not training.run(sections, 60 * args.minutes_now):
            print(f"{training.share:.0%} are done: run it again to go on")
            return MORE_TO_DO
        print(json.dumps(training.told()), flush=True)
        save_model(training.model.cpu(), args.out, {"training": training.told()})
        if args.unet is not None:
            from bundled.unet import train_unet

            print(train_unet(sections, args.unet_minutes, args.unet, training.generator), "steps")
    if args.judge:
        for name in (str(args.out), args.base):
            found = judged(api.load_model(name, settings.device).eval(), args.judge)
            print(name, json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
