"""A fresh virtual environment that borrows every dependency: for trying our own wheel quickly.

    python tests/light_venv.py DIRECTORY WHEEL

1. An empty environment, without pip.
2. A .pth file that puts the running environment's packages *after* its own. Paths named in a
   .pth file are not searched for further .pth files, so an editable install stays invisible.
3. The wheel is installed into it, without dependencies, offline.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def create(directory: Path, wheel: Path) -> Path:
    """Make the environment and return its Python."""
    venv.create(directory, clear=True, with_pip=False, symlinks=sys.platform != "win32")
    windows = sys.platform == "win32"
    python = directory / ("Scripts/python.exe" if windows else "bin/python")
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    borrowed = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    Path(own, "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    # Where the borrowed packages have an installed wheel of ours, it would be held to suffice.
    own_copy = ["--ignore-installed", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, "install", "-q", *own_copy], check=True)
    return python


if __name__ == "__main__":
    create(Path(sys.argv[1]), Path(sys.argv[2]))
