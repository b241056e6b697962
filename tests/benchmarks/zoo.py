"""Run the zoo: hostile and odd inputs, each with 4 GB of memory and 60 s (see tests/zoo).

Prints what is wrong, the slowest and the largest cases, and how many passed; exit code 1 where
one did not.

    python tests/benchmarks/zoo.py [--quick] [--every N] [--list] [PART OF A NAME ...]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

# In the place of this folder, whose zoo.py would stand for the package.
sys.path[0] = str(Path(__file__).parents[1])

from zoo import all_cases  # noqa: E402
from zoo.running import Outcome, run_all, warm_up  # noqa: E402


def main() -> int:
    """Run what was asked for and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only cases whose name contains one of these")
    parser.add_argument("--quick", action="store_true", help="only those of the test suite")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth of them")
    parser.add_argument("--list", action="store_true", help="list the cases and stop")
    parser.add_argument("--verbose", action="store_true", help="show what each case says")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1))
    asked = parser.parse_args()
    cases = [
        case
        for case in all_cases()
        if (case.quick or not asked.quick)
        and (not asked.names or any(part in case.name for part in asked.names))
    ]
    cases = cases[:: asked.every]
    if asked.list:
        print(*(case.name for case in cases), sep="\n")
        return 0
    began = time.monotonic()
    warm_up()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="napari-damm-zoo.") as place:
        for outcome in run_all(cases, Path(place), asked.processes):
            outcomes.append(outcome)
            if asked.verbose:
                print(f"{outcome.seconds:5.1f} s  {outcome.name}: {outcome.said.strip()}")
            for problem in outcome.problems:
                print(f"FAILED  {outcome.name}: {problem}", flush=True)
    _sum_up(outcomes, time.monotonic() - began)
    return int(any(outcome.problems for outcome in outcomes))


def _sum_up(outcomes: list[Outcome], seconds: float) -> None:
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.megabytes)
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    print(f"slowest  {slowest.seconds:.1f} s, {slowest.name}")
    print(f"largest  {largest.megabytes:.0f} MB, {largest.name}")
    print(f"zoo      {len(outcomes)} cases in {seconds:.0f} s, {failed} failed")


if __name__ == "__main__":
    sys.exit(main())
