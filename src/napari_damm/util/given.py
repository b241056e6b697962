"""What a caller may give by mistake, refused in a sentence that names it."""

from __future__ import annotations

import os
from typing import TypeVar

LONGEST = 60

Config = TypeVar("Config")


def settings_or_default(config: Config | None, kind: type[Config]) -> Config:
    """Return the settings, or those by default where None is given.

    Raises
    ------
    ValueError
        If they are of another kind, such as a dictionary.
    """
    if config is None:
        return kind()
    if not isinstance(config, kind):
        name = kind.__name__
        remedy = f"give {name}(**it)" if isinstance(config, dict) else f"give {name}(...)"
        raise ValueError(f"config must be a {name}, got {shown(config)}: {remedy}")
    return config


def check_path(value: object, name: str) -> None:
    """Check that a value can be a path; None, for none, is right too.

    Raises
    ------
    ValueError
        If it cannot.
    """
    if value is not None and not (isinstance(value, str | os.PathLike) and os.fspath(value)):
        raise ValueError(f"{name} must be a path, got {shown(value)}")


def shown(value: object) -> str:
    """Return a value as code has it, in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
