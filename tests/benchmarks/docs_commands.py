"""Run the commands of the first pages as a reader would, in an empty folder, and compare.

    python tests/benchmarks/docs_commands.py

1. Commands run in the order of the page, with the bundled model and nothing made smaller.
2. What opens a window or installs is left out, and named.
3. Of what a page shows as output each line must be in that of the commands above it, but for times.
4. The first command that fails, or prints something else, ends it, with exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from docs_blocks import DOCS, ROOT, blocks, commands, not_printed

PAGES = ROOT / "README.md", DOCS / "quickstart.md", DOCS / "analyze.md"
PROGRAM = Path(sys.executable).parent / "napari-damm"


def main() -> int:
    for page in PAGES:
        with tempfile.TemporaryDirectory(prefix="napari-damm-docs-") as folder:
            if not follow(page, Path(folder)):
                return 1
    return 0


def follow(page: Path, folder: Path) -> bool:
    """Run the commands of a page in a folder; False once one fails or prints something else."""
    printed = ""
    for block in blocks(page, "sh", "text"):
        if block.language == "text":
            missing = not_printed(block.code, printed)
            if missing:
                print(f"{block} shows what was not printed:", *missing, sep="\n")
                return False
            continue
        printed = ""
        for words in commands(block):
            output = run(words, folder)
            if output is None:
                return False
            printed += output
    return True


def run(words: list[str], folder: Path) -> str | None:
    """Run one command in a folder and return what it prints; None if it fails."""
    line = " ".join(words)
    if words[0] != "napari-damm":
        print(f"left out   {line}", flush=True)
        return ""
    began = time.monotonic()
    done = subprocess.run(
        [PROGRAM, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, f"exit code {done.returncode}", sep="\n")
        return None
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
