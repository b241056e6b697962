"""Patches in numpy files, as HRPN and GANDA name them: both stains in one, the target in another.

    Complex*/..._SS_NNNN.npy     (1, 2, y, x): DAPI, then vessels
    SpOrange*/..._SS_NNNN.npy    (1, 1, y, x): nanoparticles

SS is the section that a patch was cut from, NNNN its number. Folders go together by what follows
`Complex` and `SpOrange` in their names, files by section and number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from napari_damm.slide.identity import ChosenFile, identify_files
from napari_damm.slide.npy import read_npy_planes
from napari_damm.slide.raster import Raster, square_pixel_um
from napari_damm.slide.slide import Slide
from napari_damm.util.advice import Advice

INPUTS, TARGETS = "Complex", "SpOrange"
_NUMBERED = re.compile(r"(?:.*_)?(\d+)_(\d+)\.npy")

_Key = tuple[str, int, int]
"""What follows the folder's kind in its name, the section, the patch."""


class NpyPatch(NamedTuple):
    """A patch: the file of its two stains, that of its target, and the section it was cut from."""

    inputs: Path
    target: Path
    section: str


def holds_npy_patches(folder: Path) -> bool:
    """Tell whether a folder has sub-folders as HRPN and GANDA name them."""
    kinds = {kind for kind in (INPUTS, TARGETS) if _sub_folders(folder, kind)}
    return kinds == {INPUTS, TARGETS}


def half_of_npy_patches(folder: Path) -> str:
    """Say which of the two kinds of sub-folders is missing where there is one; else ""."""
    kinds = [kind for kind in (INPUTS, TARGETS) if _sub_folders(folder, kind)]
    if len(kinds) != 1:
        return ""
    missing = TARGETS if kinds[0] == INPUTS else INPUTS
    return f"{folder} has a sub-folder {kinds[0]}* and none called {missing}*: give both"


def find_npy_patches(folder: Path, ignore: Callable[[str], bool]) -> list[NpyPatch]:
    """Pair the files of a folder, in order of folder, section and number.

    `ignore` says which names are no images.

    Raises
    ------
    ValueError
        If a file is alone, named otherwise, or there twice.
    """
    inputs, targets = (_sub_folders(folder, kind) for kind in (INPUTS, TARGETS))
    if len(inputs) == len(targets) == 1:
        targets = dict(zip(inputs, targets.values(), strict=True))
    pairs: dict[str, dict[_Key, Path]] = {
        INPUTS: _numbered(inputs, ignore),
        TARGETS: _numbered(targets, ignore),
    }
    for kind, other in ((INPUTS, TARGETS), (TARGETS, INPUTS)):
        alone = sorted(set(pairs[kind]) - set(pairs[other]))
        if alone:
            raise ValueError(
                f"{pairs[kind][alone[0]]} ({len(alone)} in all) has no {other} file of that "
                f"section and number in {folder}: give every patch in both"
            )
    if not pairs[INPUTS]:
        raise ValueError(f"{folder} holds no patches: put ..._SS_NNNN.npy files into {INPUTS}*")
    return [
        NpyPatch(path, pairs[TARGETS][key], f"{key[0]} {key[1]}".strip())
        for key, path in sorted(pairs[INPUTS].items())
    ]


def open_npy_patch(patch: NpyPatch, pixel_size_um: float | None) -> tuple[Slide, Raster]:
    """Open a patch, lazily: its slide of vessels and nuclei, and its target.

    Raises
    ------
    ValueError, OSError
        If a file is no such array, or the two differ in size.
    """
    if pixel_size_um is None:
        raise ValueError(
            Advice(
                f"{patch.inputs} has no pixel size (numpy files have none)", "give {pixel_size_um}"
            )
        )
    um = square_pixel_um(pixel_size_um, str(patch.inputs))
    nuclei, vessels = (
        Raster(name, (plane,), um)
        for name, plane in zip(("nuclei", "vessels"), read_npy_planes(patch.inputs, 2), strict=True)
    )
    target = Raster("nanoparticles", tuple(read_npy_planes(patch.target, 1)), um)
    if target.shape != vessels.shape:
        raise ValueError(
            f"{patch.target} is {target.shape[0]} x {target.shape[1]} px and {patch.inputs} "
            f"{vessels.shape[0]} x {vessels.shape[1]}: give images of the same field"
        )
    roles = {"vessels": vessels, "nuclei": nuclei, "target": target}
    files: dict[str, ChosenFile] = {
        role: (patch.target if role == "target" else patch.inputs, {}, ()) for role in roles
    }
    identify = partial(identify_files, files, roles)
    name = f"{patch.inputs.parent.name}/{patch.inputs.name}"
    return Slide((vessels, nuclei), vessels, nuclei, name, identify), target


def _sub_folders(folder: Path, kind: str) -> dict[str, Path]:
    """Return the sub-folders of a kind by what follows it in their names."""
    found = (p for p in sorted(folder.iterdir()) if p.name.startswith(kind) and p.is_dir())
    return {path.name.removeprefix(kind): path for path in found}


def _numbered(folders: dict[str, Path], ignore: Callable[[str], bool]) -> dict[_Key, Path]:
    """Return the files of folders by section and number."""
    found: dict[_Key, Path] = {}
    for suffix, folder in folders.items():
        for path in sorted(folder.iterdir()):
            if ignore(path.name):
                continue
            numbers = _NUMBERED.fullmatch(path.name)
            if numbers is None or len(path.name) > 200:
                raise ValueError(
                    f"{path} is not named as a patch, such as image_01_0001.npy (section, number): "
                    "rename it, or take it out"
                )
            key = (suffix, int(numbers[1]), int(numbers[2]))
            if key in found:
                raise ValueError(f"{path} and {found[key].name} are the same patch: take one out")
            found[key] = path
    return found
