"""A job record as a script, and as a command: running either gives the same bits.

1. `opening_of` says how the section of a record is opened from its files again. A pixel size is
   said only where the files alone would not give the same.
2. `as_python` and `as_command` write everything that the maps depend on: section, model, mode,
   steps, seed, samples, gate, batch size, precision, region, device.

Both name what they ran with before, since other versions of a library may change the last bits.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from napari_damm.engine.config import EXPECTED, FULL
from napari_damm.slide import Slide, open_slide
from napari_damm.util.areas import Areas
from napari_damm.util.pixel_sizes import LARGEST_USUAL_PIXEL_UM
from napari_damm.util.text import printable

ROLES = ("vessels", "nuclei")
NAMED = ("path", "channel")
"""What opening a file again needs of a record's input."""
_OPTIONS = {"pixel_size_um": "--pixel-size"}


@dataclass(frozen=True)
class Opening:
    """How `open_slide` is called: the path, and what is said beside it."""

    path: str
    arguments: Mapping[str, Any]

    def open(self) -> Slide:
        """Open the section."""
        return open_slide(self.path, **self.arguments)

    def with_pixel_size(self, size: float) -> Opening:
        """Return the same with a pixel size that is meant, however large."""
        more = {"coarse_pixels": True} if size > LARGEST_USUAL_PIXEL_UM else {}
        return Opening(self.path, {**self.arguments, "pixel_size_um": size, **more})


def recorded_plane(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return which image of a file, and which plane of a stack, a record's input is."""
    vessels, nuclei = (given.get(role, {}) for role in ROLES)
    # of two files one alone may be a stack; which image is meant is said of the first
    chosen = {axis: nuclei[axis] for axis in ("z", "t") if axis in nuclei} | dict(vessels)
    return {name: chosen[name] for name in ("z", "t", "image") if name in chosen}


def opening_of(record: Mapping[str, Any]) -> Opening:
    """Return how the section of a record is opened again.

    Raises
    ------
    ValueError
        If it was no file, or the record does not say which.
    """
    given = record.get("input") or {}
    if given.get("kind") != "files":
        raise ValueError("the section was not opened from a file: there is none to name")
    vessels, nuclei = (given.get(role) or {} for role in ROLES)
    if not all(isinstance(each.get(name), str) for each in (vessels, nuclei) for name in NAMED):
        raise ValueError("the record does not name the section's files and channels")
    arguments: dict[str, Any] = {}
    if nuclei["path"] != vessels["path"]:
        arguments["nuclei"] = nuclei["path"]
    arguments["vessels_channel"] = vessels["channel"]
    arguments["nuclei_channel"] = nuclei["channel"].removesuffix(_beside(nuclei["path"]))
    arguments |= recorded_plane(given)
    opening = Opening(vessels["path"], arguments)
    with suppress(ValueError, OSError):
        slide = opening.open()
        if all(_same_place(getattr(slide, role), given[role]) for role in ROLES):
            return opening
    return opening.with_pixel_size(record["slide_pixel_size_um"])


def as_python(record: Mapping[str, Any], opening: str, model: str | None = None) -> str:
    """Return a script that predicts a section again.

    Parameters
    ----------
    record
        The job record.
    opening
        Lines that make `slide`; see `open_slide_lines`.
    model
        Name or path of the model; its name on the record by default.
    """
    config = {**_settings(record), "device": record["device"]}
    imports = ["from napari_damm import PredictConfig, open_slide, predict"]
    if "open_slide(" not in opening:
        imports = ["from napari_damm import PredictConfig, predict"]
    if record.get("normalisation"):
        imports.append("from napari_damm.slide import Normalisation")
        limits = {role: tuple(record["normalisation"][role]) for role in ROLES}
        config["normalisation"] = _Code(_call("Normalisation", limits))
    if record.get("areas"):
        imports.append("from napari_damm.util.areas import Areas")
        config["areas"] = _Code(repr(Areas.from_json(record["areas"])))
    settings = "".join(f"    {name}={value!r},\n" for name, value in config.items())
    return (
        f"# {_said(record)}\n" + "\n".join(imports) + f"\n\n{opening.rstrip()}\n"
        f"config = PredictConfig(\n{settings})\n"
        f"*_, finished = predict(slide, {_model(record, model)!r}, config)\n"
        "result = finished.result  # np, uncertainty and branch are lazy: np.asarray reads them\n"
    )


def open_slide_lines(opening: Opening) -> str:
    """Return the line that opens a section."""
    return "slide = " + _call("open_slide", opening.arguments, repr(str(opening.path)))


def as_command(
    record: Mapping[str, Any],
    opening: Opening,
    model: str | None = None,
    out: str = "result.ome.zarr",
) -> str:
    """Return the command that predicts a section again, into `out`.

    Raises
    ------
    ValueError
        If it has areas, which are no option.
    """
    if record.get("areas"):
        raise ValueError(
            "areas are no option: save them as GeoJSON and give --areas FILE, or copy as Python"
        )
    words = ["napari-damm", "predict", str(opening.path), "--out", out]
    for name, value in opening.arguments.items():
        words += _option(name, value)
    words += ["--model", _model(record, model)]
    for name, value in {**_settings(record), "device": record["device"]}.items():
        words += _option(name, value)
    return shlex.join(words)


class _Code(str):
    """Text that stands in a script as it is."""

    def __repr__(self) -> str:
        return str(self)


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of `PredictConfig` that the maps depend on, but for device and areas."""
    settings: dict[str, Any] = {"mode": record["mode"]}
    if record["mode"] != EXPECTED:
        settings["steps"] = record["steps"]
    settings["seed"] = record["seed"]
    for name, usual in (("samples", 1), ("views", 1), ("precision", FULL), ("compiled", False)):
        if record.get(name, usual) != usual:
            settings[name] = record[name]
    settings |= {name: record[name] for name in ("gamma", "batch_size")}
    if record.get("roi"):
        settings["roi"] = tuple(record["roi"])
    return settings


def _option(name: str, value: Any) -> list[str]:
    flag = _OPTIONS.get(name, f"--{name.replace('_', '-')}")
    if value is True:
        return [flag]
    values = value if isinstance(value, tuple) else (value,)
    return [flag, *(str(each) for each in values)]


def _call(function: str, arguments: Mapping[str, Any], *first: str) -> str:
    said = [*first, *(f"{name}={value!r}" for name, value in arguments.items())]
    return f"{function}({', '.join(said)})"


def _model(record: Mapping[str, Any], model: str | None) -> str:
    return model or str((record.get("model") or {}).get("name"))


def _said(record: Mapping[str, Any]) -> str:
    versions = record.get("versions") or {}
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    checksum = str((record.get("model") or {}).get("sha256", ""))[:12]
    # What a stranger's record says of itself must not leave the comment.
    return printable(f"Predicted with {said}; the model's sha256 begins with {checksum}")


def _same_place(raster: Any, given: Mapping[str, Any]) -> bool:
    place = raster.pixel_size_um, [float(value) for value in raster.origin]
    return place == (given.get("pixel_size_um"), list(given.get("origin_um") or ()))


def _beside(path: str) -> str:
    """Return what ends a channel's name where both files have one of that name."""
    from pathlib import Path

    return f" ({Path(path).name})"
