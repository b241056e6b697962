"""Give the bundled model a detail that draws without the camera (see `bundled.drawing`).

Run: PYTHONPATH=src python tests/benchmarks/train_drawing.py --model FILE --out FILE
         [--sections 150] [--minutes 8]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from bundled.drawing import learn, pool, with_new_detail
from bundled.judging import judged

from napari_damm import api
from napari_damm.model_file import save_model

OF_OTHER_WEIGHTS = ("metrics", "spread_factor", "intervals")
"""What a card says of the weights as they were."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the pool, learn, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sections", type=int, default=150)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--judge", type=int, default=4, help="on so many sections of each preset")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    windows = pool(args.model, args.sections, args.first_seed)
    model = with_new_detail(api.load_model(args.model, "cpu"), seed=0)
    steps = learn(model, windows, args.minutes)
    told = {"sections": args.sections, "windows": len(windows), "steps": steps}
    model.card = {key: value for key, value in model.card.items() if key not in OF_OTHER_WEIGHTS}
    save_model(model, args.out, {"drawing": told})
    print(json.dumps(told), flush=True)
    for name in (args.out, args.model):
        print(name, json.dumps(judged(api.load_model(name, "cpu").eval(), args.judge)), flush=True)


if __name__ == "__main__":
    main()
