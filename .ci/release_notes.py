"""Print a release's notes: its section of CHANGELOG.md. Refuses a tag that does not fit the code.

python .ci/release_notes.py v0.2.0
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def notes(tag: str, root: Path = ROOT) -> str:
    """Return what the changelog says of a version.

    Raises
    ------
    ValueError
        If tag, code, citation and changelog do not agree, in one sentence.
    """
    said = {
        "the code": r'__version__ = "(.+)"',
        "CITATION.cff": r"^version: (\S+)$",
    }
    files = {"the code": "src/napari_damm/util/version.py", "CITATION.cff": "CITATION.cff"}
    for where, pattern in said.items():
        text = (root / files[where]).read_text("utf-8")
        version = re.findall(pattern, text, flags=re.M)[0]
        if tag != f"v{version}":
            raise ValueError(f"the tag must be v{version}, as {where} says, got {tag}")
    changes = (root / "CHANGELOG.md").read_text("utf-8")
    found = re.search(rf"^## {re.escape(tag[1:])}\b[^\n]*\n(.*?)(?=^## |\Z)", changes, re.M | re.S)
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md must have a section ## {tag[1:]}, which it has not")
    return found[1].strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1]))
    except (IndexError, ValueError) as error:
        sys.exit(f"release_notes: {error if sys.argv[1:] else 'give a tag, such as v0.2.0'}")
