"""A training written down: a TOML or JSON file with the settings, the base model and the data.

```toml
base = "small"              # a model's name or file; leave it out with a preset
out = "run"                 # the run's folder
name = "my model"           # and any other setting of TrainConfig
minutes = 15

[[data]]
kind = "folder"             # "slide", "folder" or "simulated", with the settings of the source
path = "patches"
pixel_size_um = 0.5
```

Paths are relative to the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_damm.dataset.sources import Source, source_from_dict
from napari_damm.train.config import TrainConfig
from napari_damm.util.bounded_json import parse_json
from napari_damm.util.files import open_regular

MOST_BYTES = 2**20


@dataclass(frozen=True)
class TrainSettings:
    """What a settings file says; None and {} where it says nothing."""

    sources: tuple[Source, ...] = ()
    base: str | None = None
    out: Path | None = None
    values: Mapping[str, Any] | None = None


def read_settings(path: Path) -> TrainSettings:
    """Read a settings file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is neither TOML nor JSON, or a setting is unknown or refused.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path of the settings file")
    with open_regular(path) as stream:
        content = stream.read(MOST_BYTES + 1)
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is longer than {MOST_BYTES} bytes")
        text = content.decode()
        found = parse_json(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file: write the settings as TOML or JSON") from None
    except RecursionError:
        raise ValueError(f"{path} cannot be read: it is nested without end") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold named settings, got {type(found).__name__}")
    try:
        return _settings(found, path.absolute().parent)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _settings(found: dict[str, Any], folder: Path) -> TrainSettings:
    data = found.pop("data", [])
    entries = data if isinstance(data, list) else [data]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('data must be tables with a kind, such as [[data]] kind = "folder"')
    base, out = found.pop("base", None), found.pop("out", None)
    if base is not None and (folder / str(base)).is_file():
        base = str(folder / str(base))
    TrainConfig.from_dict(found)  # refuses what is unknown, in the file's own name
    return TrainSettings(
        tuple(source_from_dict(entry, folder) for entry in entries),
        None if base is None else str(base),
        None if out is None else folder / str(out),
        found,
    )
