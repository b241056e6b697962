"""What a case of the zoo is: files, a command line, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path], list[str]]
"""Writes a case's files into an empty folder, which is the command's current folder and the only
place where it may write, and returns the command's arguments."""

Check = Callable[[Path, str], None]
"""Asserts, from the folder and the text on stdout, that the right thing was done."""


@dataclass(frozen=True)
class Case:
    """One hostile or odd input.

    Attributes
    ----------
    name
        Group and name, as "models: shape Infinity".
    make
        See `Make`.
    says
        For a case to be refused (exit 2, one line on stderr, nothing written): a regular
        expression that the line must match; it must name what is wrong.
    check
        For a case that is to work (exit 0): see `Check`.
    quick
        Whether it belongs in the test suite: well under a second, and no processes of its own.
    """

    name: str
    make: Make
    says: str = ""
    check: Check | None = None
    quick: bool = True


class Group(list[Case]):
    """The cases of one kind of input."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def refused(self, name: str, says: str, quick: bool = True) -> Callable[[Make], Make]:
        """Decorate a function that makes a case which must be refused; `says` is the sentence's."""

        def add(make: Make) -> Make:
            self.append(Case(f"{self._kind}: {name}", make, says=says, quick=quick))
            return make

        return add

    def works(self, name: str, check: Check, quick: bool = True) -> Callable[[Make], Make]:
        """Decorate a function that makes a case which looks odd, and must work."""

        def add(make: Make) -> Make:
            self.append(Case(f"{self._kind}: {name}", make, check=check, quick=quick))
            return make

        return add


def canary(folder: Path) -> Path:
    """Return the file that hostile code makes; it must not be there at the end.

    It lies beside the case's folder, so that code which runs is told from files that are left.
    """
    return folder.with_name(f"{folder.name}.executed")
