"""Which files are the sections of a batch, which file holds their nuclei, where their results go.

1. A folder stands for the images in it. Results of ours are no images.
2. With a naming rule such as "CD31=DAPI", nuclei have files of their own: a section is a file whose
   name has "CD31", and its nuclei are in the one beside it whose name has "DAPI" there. Files that
   were found in a folder and have no part in this are left out; files that were named are refused.
3. A result is called as its section. Sections of one name are told apart by their folders.

4. `in_all_ways` makes of each section one per model and mode; their results say which.

Nothing is opened, so that the pairs can be shown before anything is computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import EXPECTED, PredictConfig
from napari_damm.util.advice import Advice
from napari_damm.util.areas import areas_of_geojson
from napari_damm.util.files import LONGEST_NAME
from napari_damm.util.image_names import IMAGE_ENDINGS, is_named_as_image

if TYPE_CHECKING:
    from napari_damm.slide import Slide

ENDING = ".ome.zarr"


@dataclass(frozen=True)
class BatchSection:
    """One section of a batch.

    Parameters
    ----------
    image
        The file with the vessels, and the nuclei unless `nuclei` is given.
    store
        Where its result goes.
    nuclei
        The file with the nuclei.
    options
        Further arguments of `open_slide`.
    model, mode
        Its own, in place of the batch's.
    areas
        A GeoJSON file with the areas that are predicted; None for all of it.
    """

    image: Path
    store: Path
    nuclei: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str | Path | None = None
    mode: str | None = None
    areas: Path | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        which = ", ".join(_which(self.model, self.mode))
        folder = self.image.resolve().parent.name
        # where several files have one name their results are called by their folders too
        shared = self.store.name.startswith(f"{folder}_{_stem(self.image)}.")
        called = f"{folder}/{self.image.name}" if shared else self.image.name
        return f"{called} ({which})" if which else called

    def config(self, common: PredictConfig) -> PredictConfig:
        """Return the settings of the batch with those of this section.

        Raises
        ------
        ValueError, OSError
            If they do not go together, or its areas cannot be read.
        """
        own: dict[str, Any] = {} if self.mode is None else {"mode": self.mode}
        if self.mode not in (None, EXPECTED):
            own["views"] = 1
        if self.areas is not None:
            own["areas"] = areas_of_geojson(self.areas)
        return replace(common, **own) if own else common

    def __str__(self) -> str:
        """Say what is paired with what, and where it goes."""
        beside = f" + {self.nuclei.name}" if self.nuclei is not None else ""
        return f"{self.name}{beside} -> {self.store}"

    def open(self) -> Slide:
        """Open it."""
        from napari_damm.slide import open_slide

        return open_slide(self.image, nuclei=self.nuclei, **self.options)


def find_sections(
    inputs: Sequence[str | Path] | str | Path,
    out: str | Path,
    nuclei_pattern: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[BatchSection]:
    """List the sections in files and folders, with their nuclei and the places of their results.

    Parameters
    ----------
    inputs
        Files, and folders of files; one of them may stand alone.
    out
        Folder for the results.
    nuclei_pattern
        "CD31=DAPI": nuclei are in the file whose name has DAPI where the section's has CD31. None:
        every file holds both.
    options
        Further arguments of `open_slide`, for all of them.

    Raises
    ------
    ValueError, OSError
        If there is no section, a file is missing or named twice, or no result can get its name.
    """
    files, found = [], []
    inputs = (inputs,) if isinstance(inputs, str | Path) else inputs
    for path in (Path(given) for given in inputs):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: check the name")
        if _is_folder_of_images(path):
            found += images_in(path)
        else:
            files.append(path)
    pairs: list[tuple[Path, Path | None]] = [(path, None) for path in (*files, *found)]
    if nuclei_pattern is not None:
        pairs = list(_paired(files, found, nuclei_pattern))
    if not pairs:
        raise ValueError(f"there is no image in {', '.join(map(str, inputs))}: give other files")
    twice = [path for path, n in Counter(p.resolve() for p, _ in pairs).items() if n > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice: leave one out")
    stores = _stores([path for path, _ in pairs], Path(out))
    more = dict(options or {})
    return [
        BatchSection(path, store, nuclei, more)
        for (path, nuclei), store in zip(pairs, stores, strict=True)
    ]


def images_in(path: Path) -> list[Path]:
    """Return the images in a folder; none where it is an image itself (OME-Zarr), or a file."""
    if not _is_folder_of_images(path):
        return []
    return [inside for inside in sorted(path.iterdir()) if _is_image(inside)]


def in_all_ways(
    sections: Sequence[BatchSection], models: Sequence[str | Path], modes: Sequence[str]
) -> list[BatchSection]:
    """Return each section once for every model and mode, `a.MODEL.MODE.ome.zarr`.

    What all share is not said: one model and one mode leave the sections as they are.

    Raises
    ------
    ValueError
        If a model or a mode is given twice, or a result's name becomes too long.
    """
    for what, given in (("model", [_called(m) for m in models]), ("mode", modes)):
        twice = next((each for each, n in Counter(given).items() if n > 1), None)
        if twice is not None:
            raise ValueError(f"the {what} {twice} is given twice: leave one out")
    own_models: Sequence[str | Path | None] = models if len(models) > 1 else [None]
    own_modes: Sequence[str | None] = modes if len(modes) > 1 else [None]
    return [
        replace(section, model=model, mode=mode, store=_store_of(section.store, model, mode))
        for model in own_models
        for mode in own_modes
        for section in sections
    ]


def _store_of(store: Path, model: str | Path | None, mode: str | None) -> Path:
    parts = [store.name.removesuffix(ENDING), *_which(model, mode)]
    return _nameable(store.parent, ".".join(parts))


def _which(model: str | Path | None, mode: str | None) -> list[str]:
    return ([] if model is None else [_called(model)]) + ([] if mode is None else [mode])


def _called(model: str | Path) -> str:
    return Path(model).name.removesuffix(".safetensors")


def _paired(
    files: Sequence[Path], found: Sequence[Path], pattern: str
) -> Iterator[tuple[Path, Path | None]]:
    vessels, nuclei = _parts(pattern)
    partners = set()
    pairs = []
    for path in (*files, *found):
        if vessels not in path.name:
            continue
        partner = path.with_name(path.name.replace(vessels, nuclei))
        if not partner.exists():
            raise FileNotFoundError(
                Advice(
                    f"{path} has no nuclei beside it, {partner.name} is missing",
                    "correct {nuclei_pattern}, or leave the section out",
                )
            )
        pairs.append((path, partner))
        partners.add(partner.resolve())
    for path in files:
        if vessels not in path.name and path.resolve() not in partners:
            raise ValueError(
                Advice(f"{path.name} has no {vessels!r} in its name", "correct {nuclei_pattern}")
            )
    # a file that is another's nuclei is no section, whatever its name
    yield from (pair for pair in pairs if pair[0].resolve() not in partners)


def _parts(pattern: str) -> tuple[str, str]:
    vessels, equals, nuclei = pattern.partition("=")
    if not (vessels and equals and nuclei) or vessels == nuclei or "/" in pattern:
        raise ValueError(
            Advice(
                "must be two different parts of file names such as CD31=DAPI, "
                f"got {pattern[:100]!r}",
                parameter="nuclei_pattern",
            )
        )
    return vessels, nuclei


def _stores(images: Sequence[Path], out: Path) -> list[Path]:
    stems = [_stem(path) for path in images]
    counts = Counter(stem.casefold() for stem in stems)
    names = [
        stem if counts[stem.casefold()] == 1 else f"{path.resolve().parent.name}_{stem}"
        for path, stem in zip(images, stems, strict=True)
    ]
    clash = next((n for n, c in Counter(n.casefold() for n in names).items() if c > 1), None)
    if clash is not None:
        first, second = [p for p, n in zip(images, names, strict=True) if n.casefold() == clash][:2]
        raise ValueError(
            f"the results of {first} and {second} would both be called {clash}{ENDING}: "
            "rename one, or predict them one at a time"
        )
    return [_nameable(out, name) for name in names]


def _nameable(folder: Path, name: str) -> Path:
    """Return the place of a result of that name, before anything is computed for it."""
    called = name + ENDING
    if len(called.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ValueError(
            f"the result of {name[:40]}... would have a name of more than {LONGEST_NAME} bytes: "
            "give the file, or the model, a shorter one"
        )
    return folder / called


def _stem(path: Path) -> str:
    ending = next((e for e in IMAGE_ENDINGS if path.name.lower().endswith(e)), path.suffix)
    return path.name[: len(path.name) - len(ending)] or path.name


def _is_image(path: Path) -> bool:
    return is_named_as_image(path) and not _is_result(path)


def _is_folder_of_images(path: Path) -> bool:
    """Tell a folder of images from an image that is a folder (OME-Zarr)."""
    marks = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
    if not path.is_dir() or path.name.lower().endswith(".zarr"):
        return False
    return not any((path / mark).exists() for mark in marks)


def _is_result(path: Path) -> bool:
    from napari_damm.store.arrays import STORE
    from napari_damm.util.bounded_json import read_json

    with suppress(OSError, ValueError, KeyError, TypeError):
        return STORE in read_json(path / "zarr.json")["attributes"]
    return False
