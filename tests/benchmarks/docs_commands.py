"""Run the commands of the README and the quickstart as a reader would, in an empty folder.

    python tests/benchmarks/docs_commands.py

1. Commands run in the order of the page, with the bundled model and nothing made smaller.
2. What opens a window or installs is left out, and named.
3. The first command that fails ends it, with exit code 1.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from docs_blocks import DOCS, ROOT, blocks, commands

PAGES = ROOT / "README.md", DOCS / "quickstart.md"
PROGRAM = Path(sys.executable).parent / "napari-damm"


def main() -> int:
    for page in PAGES:
        with tempfile.TemporaryDirectory(prefix="napari-damm-docs-") as folder:
            for block in blocks(page, "sh"):
                for words in commands(block):
                    if not run(words, Path(folder)):
                        return 1
    return 0


def run(words: list[str], folder: Path) -> bool:
    """Run one command in a folder; False if it fails."""
    line = " ".join(words)
    if words[0] != "napari-damm":
        print(f"left out   {line}", flush=True)
        return True
    began = time.monotonic()
    done = subprocess.run(
        [PROGRAM, *words[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, f"exit code {done.returncode}", sep="\n")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
