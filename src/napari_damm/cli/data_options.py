"""The options of the command line that say which sections to learn from, or to judge on.

1. The options' types, and `with_data`, which gives them to a command that takes data.
2. `DataOptions.sources` makes sources of what was given, or says in one sentence what is missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from napari_damm.cli.options import with_options
from napari_damm.util.text import name_or_index

if TYPE_CHECKING:
    from napari_damm.dataset import FolderSource, SimulatedSource, SlideSource, Source

Inputs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Sections: files with all channels, or folders with one sub-folder per stain.",
        show_default=False,
    ),
]


def _channel(what: str) -> Any:
    return typer.Option(metavar="C", help=f"Name or number (from 0) of the {what}.")


VesselsChannel = Annotated[str | None, _channel("vessels")]
NucleiChannel = Annotated[str | None, _channel("nuclei")]
TargetChannel = Annotated[str | None, _channel("nanoparticles")]
NucleiFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Nuclei, where they have their own file.")
]
TargetFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Nanoparticles, where they have their own file.")
]
PixelSize = Annotated[
    float | None, typer.Option(metavar="UM", help="Pixel size in um, if the files do not say.")
]
CoarsePixels = Annotated[
    bool, typer.Option("--coarse-pixels", help="A --pixel-size above 25 um is meant.")
]
Roi = Annotated[
    tuple[int, int, int, int] | None,
    typer.Option(metavar="Y0 X0 Y1 X1", help="Only this region, in vessel pixels."),
]
Image = Annotated[
    str | None, typer.Option(metavar="N|NAME", help="Which of several images in a file.")
]
ZPlane = Annotated[int | None, typer.Option(metavar="N", help="Plane of a z stack, from 0.")]
TimePoint = Annotated[int | None, typer.Option(metavar="N", help="Time point, from 0.")]
Folders = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="Sub-folders of vessels, nuclei and nanoparticles.  [default: CD31,DAPI,QD]",
    ),
]
Simulated = Annotated[int, typer.Option(metavar="N", help="Simulated sections.")]
SimulatedPreset = Annotated[
    str | None,
    typer.Option(
        metavar="internal|external|varied", help="Kind of simulated tissue and microscope."
    ),
]
SimulatedSize = Annotated[
    int | None, typer.Option(metavar="PX", help="Side of a simulated section.  [default: 1024]")
]
FirstSeed = Annotated[
    int | None, typer.Option(metavar="S", help="Seed of the first simulated section.")
]


@dataclass(frozen=True)
class DataOptions:
    """What was given on the command line."""

    inputs: list[Path] | None = None
    vessels_channel: str | None = None
    nuclei_channel: str | None = None
    target_channel: str | None = None
    nuclei: Path | None = None
    target: Path | None = None
    pixel_size: float | None = None
    coarse_pixels: bool = False
    roi: tuple[int, int, int, int] | None = None
    image: str | None = None
    z: int | None = None
    t: int | None = None
    folders: str | None = None
    simulated: int = 0
    simulated_preset: str | None = None
    simulated_size: int | None = None
    first_seed: int | None = None

    @property
    def given(self) -> bool:
        """Whether any data were asked for."""
        return bool(self.inputs) or self.simulated != 0

    def sources(self, first_seed: int) -> list[Source]:
        """Return the sources; `first_seed` is that of simulated sections if none is given.

        Raises
        ------
        ValueError
            If nothing is given, or options do not go together.
        """
        inputs = self.inputs or []
        if not self.given:
            raise ValueError("give sections to work on: files, folders, or --simulated N")
        self._check_single(inputs)
        found: list[Source] = [self._source(path) for path in inputs]
        self._check_used(found)
        if self.simulated:
            found.append(self._simulated(first_seed))
        return found

    def check_heeded(self) -> None:
        """Refuse options of data where none are given, but those of a file, or as begun.

        Raises
        ------
        ValueError
            Naming the first of them.
        """
        left = {
            **dict(self._of_files()),
            "--folders": self.folders,
            "--pixel-size": self.pixel_size,
            "--coarse-pixels": self.coarse_pixels or None,
            "--simulated-preset": self.simulated_preset,
            "--simulated-size": self.simulated_size,
            "--first-seed": self.first_seed,
        }
        option = next((name for name, value in left.items() if value is not None), None)
        if option is not None and not self.given:
            raise ValueError(
                f"{option} goes with the sections that it is of, and none are given: give these, "
                "too, or leave it out"
            )

    def _source(self, path: Path) -> SlideSource | FolderSource:
        from napari_damm.dataset import FolderSource, SlideSource

        primary, secondary, target = self._sub_folders()
        if path.is_dir() and not _is_zarr(path, (primary, secondary, target)):
            return FolderSource(
                path,
                primary,
                secondary,
                target,
                self.pixel_size,
                coarse_pixels=self.coarse_pixels,
            )
        return SlideSource(
            path,
            name_or_index(self.vessels_channel),
            name_or_index(self.nuclei_channel),
            name_or_index(self.target_channel),
            self.nuclei,
            self.target,
            self.pixel_size,
            self.roi,
            self.z,
            self.t,
            image=self.image,
            coarse_pixels=self.coarse_pixels,
        )

    def _simulated(self, first_seed: int) -> SimulatedSource:
        from napari_damm.dataset import SimulatedSource

        return SimulatedSource(
            self.simulated,
            1024 if self.simulated_size is None else self.simulated_size,
            self.simulated_preset or "internal",
            first_seed if self.first_seed is None else self.first_seed,
        )

    def _sub_folders(self) -> tuple[str, str, str]:
        if self.folders is None:
            return "CD31", "DAPI", "QD"
        names = [name.strip() for name in self.folders.split(",")]
        if len(names) != 3 or not all(names) or len(set(names)) != 3:
            raise ValueError(
                "--folders must be three different names with commas between them, such as "
                f"CD31,DAPI,QD, got {self.folders!r}"
            )
        return names[0], names[1], names[2]

    def _check_single(self, inputs: list[Path]) -> None:
        """Refuse what belongs to one file where there are none or several."""
        for option, value in (
            ("--nuclei", self.nuclei),
            ("--target", self.target),
            ("--roi", self.roi),
        ):
            if value is not None and len(inputs) != 1:
                raise ValueError(f"{option} goes with one INPUT, got {len(inputs)}")

    def _check_used(self, found: list[Source]) -> None:
        """Refuse options that nothing given would heed."""
        from napari_damm.dataset import FolderSource, SlideSource

        kinds = (
            (SlideSource, "a file as INPUT", dict(self._of_files())),
            (FolderSource, "a folder as INPUT", {"--folders": self.folders}),
        )
        folders = [s.path for s in found if isinstance(s, FolderSource)]
        hint = f": of {folders[0]} give the files themselves, one by one" if folders else ""
        for kind, needed, options in kinds:
            for option, value in options.items():
                if value is not None and not any(isinstance(source, kind) for source in found):
                    raise ValueError(f"{option} goes with {needed}, and there is none{hint}")
        for option, number in (
            ("--simulated-preset", self.simulated_preset),
            ("--simulated-size", self.simulated_size),
            ("--first-seed", self.first_seed),
        ):
            if number is not None and not self.simulated:
                raise ValueError(f"{option} goes with --simulated N")

    def _of_files(self) -> Iterator[tuple[str, object]]:
        yield "--vessels-channel", self.vessels_channel
        yield "--nuclei-channel", self.nuclei_channel
        yield "--target-channel", self.target_channel
        yield "--nuclei", self.nuclei
        yield "--target", self.target
        yield "--roi", self.roi
        yield "--image", self.image
        yield "--z", self.z
        yield "--t", self.t


_TYPES = {
    "inputs": Inputs,
    "vessels_channel": VesselsChannel,
    "nuclei_channel": NucleiChannel,
    "target_channel": TargetChannel,
    "nuclei": NucleiFile,
    "target": TargetFile,
    "pixel_size": PixelSize,
    "coarse_pixels": CoarsePixels,
    "roi": Roi,
    "image": Image,
    "z": ZPlane,
    "t": TimePoint,
    "folders": Folders,
    "simulated": Simulated,
    "simulated_preset": SimulatedPreset,
    "simulated_size": SimulatedSize,
    "first_seed": FirstSeed,
}


def with_data(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the data options; it takes them together, as its first argument."""

    @wraps(command, assigned=("__doc__", "__module__", "__name__"))
    def run(**given: Any) -> int:
        data = DataOptions(**{name: given.pop(name) for name in _TYPES})
        return command(data, **given)

    hints = get_type_hints(command, include_extras=True)
    _, *own = inspect.signature(command).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    defaults = {field.name: field.default for field in fields(DataOptions)}
    options = [
        inspect.Parameter(name, keyword, default=defaults[name], annotation=kind)
        for name, kind in _TYPES.items()
    ]
    options += [
        each.replace(kind=keyword, annotation=hints[each.name])
        for each in own
        if each.kind is not each.VAR_KEYWORD
    ]
    del run.__wrapped__  # whose signature would be taken for ours
    return with_options(run, options)


def _is_zarr(path: Path, sub_folders: tuple[str, ...]) -> bool:
    """Tell an image that is a folder (OME-Zarr) from a folder of images."""
    if all((path / name).is_dir() for name in sub_folders):
        return False
    marks = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
    return path.suffix.lower() == ".zarr" or any((path / mark).exists() for mark in marks)
