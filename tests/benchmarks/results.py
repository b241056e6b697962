"""How good is the bundled model? All evidence, and the page that tells it, from one command.

Run: python tests/benchmarks/results.py --work DIR [--model FILE] [--unet FILE] [--gan FILE]
         [--ablation NAME=FILE ... --ablation-base FILE] [--parts headline trust ...]
         [--processes 2] [--out docs] [--report] [--reduced]

Writes results.md, results.json and images/results-*.png into --out. What was measured is kept in
--work, section by section: started again, it goes on where it stopped; with other models it
measures anew what depends on them. --report writes the page from what is there. --again measures
anew, from predictions that are kept. --reduced runs everything in small, to see that it runs.

Parts: headline (all contestants), divergence, sampling (steps and samples), trust (intervals),
read_out (which confidence is shown), seams, ablations.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evidence.document import write
from evidence.lab import Lab
from evidence.run import measure_all
from evidence.settings import PARTS, Settings, reduced

from napari_damm.simulate import EVALUATION_SEEDS_FROM

FILES = ("model", "unet", "gan", "ablation_base")


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--work", type=Path, required=True, help="folder of what was measured")
    made.add_argument("--out", type=Path, default=Path("docs"), help="folder of the page")
    made.add_argument("--model", help="name or file; the bundled one by default")
    made.add_argument("--device", default="cpu")
    made.add_argument("--unet", type=Path, help="a trained regression U-Net (baselines)")
    made.add_argument("--gan", type=Path, help="a trained conditional GAN (baselines)")
    made.add_argument("--ablation", action="append", default=[], metavar="NAME=FILE")
    made.add_argument("--ablation-base", type=Path, help="the full model, trained as briefly")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--sections", type=int, default=20, help="per preset")
    made.add_argument("--first-seed", type=int, default=EVALUATION_SEEDS_FROM)
    made.add_argument("--samples", type=int, default=8)
    made.add_argument("--seed", type=int, default=0, help="of the noise")
    made.add_argument("--processes", type=int, default=1)
    made.add_argument("--report", action="store_true", help="measure nothing")
    made.add_argument("--again", action="store_true", help="measure anew, predictions are kept")
    made.add_argument("--reduced", action="store_true", help="everything in small")
    return made


def settings_of(args: argparse.Namespace) -> Settings:
    """Turn options into settings.

    Raises
    ------
    ValueError
        If they do not go together.
    """
    pairs = [text.partition("=") for text in args.ablation]
    if any(not (name and file) for name, _, file in pairs):
        raise ValueError(f"--ablation takes NAME=FILE, got {' '.join(args.ablation)}")
    own = ("report", "again", "reduced", "processes", "ablation")
    wishes: dict[str, Any] = {name: value for name, value in vars(args).items() if name not in own}
    wishes["ablations"] = {name: Path(file) for name, _, file in pairs}
    wishes["parts"] = tuple(part for part in PARTS if part in args.parts)
    return reduced(wishes) if args.reduced else Settings(**wishes)


def command_of(args: argparse.Namespace) -> str:
    """Return the command as anyone would type it: without folders, and what changes no number."""
    defaults = vars(parser().parse_args(["--work", "work"]))
    words = ["python", "tests/benchmarks/results.py", "--work", "work"]
    for name, value in vars(args).items():
        if value == defaults[name] or name in (
            "work",
            "out",
            "device",
            "processes",
            "report",
            "again",
        ):
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "ablation":
            pairs = (text.partition("=") for text in value)
            words += [w for key, _, file in pairs for w in (flag, f"{key}={Path(file).name}")]
        elif value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [flag, *value]
        else:
            words += [flag, Path(value).name if name in FILES else str(value)]
    return shlex.join(words)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the page."""
    args = parser().parse_args(arguments)
    try:
        settings = settings_of(args)
    except ValueError as fault:
        parser().error(str(fault))
    if args.again:
        for name in settings.parts:
            shutil.rmtree(settings.work / "rows" / name, ignore_errors=True)
    lab = Lab(settings)
    if not args.report:
        for line in measure_all(lab, args.processes):
            print(line, flush=True)
    print("written:", write(lab, command_of(args)))


if __name__ == "__main__":
    main()
