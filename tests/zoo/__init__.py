"""The zoo: hostile and odd inputs, each given to the command line under limits.

1. `case`: what a `Case` is: a name, a function that writes its files into an empty folder and
   returns the arguments of `napari-damm`, and what must come of it.
2. One module per kind of input: `models`, `checkpoints`, `pictures`, `ome_zarr`, `stores`,
   `trainings`, `command_lines`. Each has a `CASES` group; a new case is a function with a decorator
   there, and nothing else.
3. `goods`: sound files that a case spoils or needs beside the bad one, made once.
4. `running`: builds a case, runs it with 4 GB of memory and 60 s, and says what is wrong.

`make zoo` runs all of them, `tests/test_zoo.py` those that are quick.
"""

from __future__ import annotations

from importlib import import_module

from zoo.case import Case

GROUPS = (
    "models",
    "checkpoints",
    "pictures",
    "bombs",
    "ome_zarr",
    "stores",
    "batches",
    "analyses",
    "areas",
    "trainings",
    "command_lines",
)


def all_cases() -> list[Case]:
    """Return every case, group by group; names are unique."""
    cases = [case for group in GROUPS for case in import_module(f"zoo.{group}").CASES]
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"zoo cases of the same name: {twice}"
    return cases
