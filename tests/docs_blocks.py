"""Blocks of code in README.md and docs/, the links between pages, and what a command line means.

1. `blocks` finds fenced blocks with their language and line.
2. `commands` cuts a block of shell into commands, without comments and variables before them.
3. `not_printed` compares what a page shows with what a command prints.
4. `links` finds what a page points to inside the project.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *(ROOT / ".github").glob("*.md")])
_ASSIGNMENT = re.compile(r"\w+=\S*")
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)[^)]*\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line on which its code begins, and the code."""

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the blocks of a page, of these languages only where some are named."""
    found, language, start, code = [], None, 0, []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            code.append(line)
        elif language is None:
            language, start, code = line[3:].strip(), number + 1, []
        else:
            found.append(Block(page, start, language, "\n".join(code) + "\n"))
            language = None
    assert language is None, f"{page} has a block without an end"
    return [each for each in found if not languages or each.language in languages]


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command."""
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] == "$"):
            words = words[1:]
        if words and words[-1] == "&":
            words = words[:-1]
        if words:
            yield words


def not_printed(shown: str, printed: str) -> list[str]:
    """Return the lines that a page shows and a command did not print, but for what time it took."""
    there = {line.rstrip() for line in printed.splitlines()}
    lines = (line.rstrip() for line in shown.splitlines())
    return [line for line in lines if line not in there and not line.startswith("time ")]


def without_code(page: Path) -> str:
    """Return a page's text without its blocks and code in lines."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> Iterator[str]:
    """Yield where a page's links and pictures point to."""
    yield from _LINK.findall(without_code(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the site and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}
