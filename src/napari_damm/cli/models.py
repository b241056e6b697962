"""The commands `napari-damm models ...`: what models there are, and their cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_damm.cli.streams import echo

models = typer.Typer(
    help="List, show, import, export and remove models.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

IMPORT_HELP = (
    "Add a model to your own: a checkpoint of the authors' code, or a .safetensors model file."
)
EXPORT_HELP = "Copy a model into a file of its own, or pack it for other programs."
SHOWN_NUMBERS, FIRST_NUMBERS = 24, 8
"""A card's longer lists are cut: the statistics of the images that a model knows have 1,369."""
_MODEL_FILE = ".safetensors"
_OWN_FORMAT = "safetensors"
FORMATS = {
    _OWN_FORMAT: "the model file as it is",
    "bioimageio": "a zip that programs of bioimage.io read",
}
PACKAGE_MODES = ("expected", "fast", "draft")

_Model = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A model's name or file.")]


@models.command("list", help="List the bundled models and your own.")
def list_() -> None:
    """Print a line per model."""
    from napari_damm.model_file import list_models

    found = list_models()
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        origin = "bundled" if info.bundled else "own"
        echo(f"{info.name:{width}}  {origin:7}  {info.summary}")


@models.command(help="Print a model's card and the SHA-256 of its file.")
def show(
    model: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="The bundled model if left out.")
    ] = None,
) -> None:
    """Print what a model says of itself."""
    from napari_damm.model_file import card_and_sum, find_model

    path = find_model(model)
    card, checksum = card_and_sum(path)
    written = str(card.get("name", "unnamed"))
    was = "" if written == path.stem else f" (its card was written as {written!r})"
    card = {**card, "name": f"{path.stem}{was}"}
    for line in [*card_lines(card), f"file: {path}", f"sha256: {checksum}"]:
        echo(line)


@models.command("import", help=IMPORT_HELP)
def import_(
    file: Annotated[Path, typer.Argument(help="A .ckpt of the authors' code, or a model file.")],
    name: Annotated[str | None, typer.Option(help="Its name; that of the file by default.")] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(metavar="UM", help="Pixel size of its training images, for a .ckpt."),
    ] = None,
) -> None:
    """Import a model file, or turn a checkpoint into one."""
    from napari_damm.model_file import import_model

    if file.suffix == _MODEL_FILE:
        if pixel_size is not None:
            raise ValueError(f"{file} states its pixel size: leave out --pixel-size")
        echo(import_model(file, name).path)
    else:
        echo(_import_checkpoint(file, name or file.stem, pixel_size))


@models.command(help=EXPORT_HELP)
def export(
    model: _Model,
    file: Annotated[Path, typer.Argument(help="File to write.")],
    format: Annotated[
        str,
        typer.Option(
            metavar="|".join(FORMATS),
            help="; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items()),
        ),
    ] = _OWN_FORMAT,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(PACKAGE_MODES),
            help="Of a package: what it predicts.  [default: expected]",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of a package: key of the noise.  [default: 0]")
    ] = None,
    author: Annotated[
        str | None, typer.Option(help="Of a package: who made the model; needed for your own.")
    ] = None,
) -> None:
    """Copy a model, or pack it for other programs, and print where to."""
    from napari_damm.model_file import export_model

    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    if format != _OWN_FORMAT:
        echo(_export_package(model, file, mode or PACKAGE_MODES[0], seed or 0, author))
        return
    for option, value in (("--mode", mode), ("--seed", seed), ("--author", author)):
        if value is not None:
            raise ValueError(f"{option} goes with --format bioimageio, got {value!r} without it")
    echo(export_model(model, file))


@models.command(help="Delete one of your own models (never a bundled one).")
def remove(
    name: Annotated[str, typer.Argument(help="Name of one of your own models.")],
) -> None:
    """Delete a model, and print what it was."""
    from napari_damm.model_file import remove_model

    echo(f"removed {remove_model(name)}")


def card_lines(card: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Set a card out for reading: one value per line, nested values indented."""
    for key, value in card.items():
        if isinstance(value, (list, tuple)) and any(isinstance(v, Mapping) for v in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from card_lines(value, indent + "  ")
        elif isinstance(value, (list, tuple)):
            yield f"{indent}{key}: {_listed(value)}"
        else:
            yield f"{indent}{key}: {value}"


def _listed(values: Sequence[Any]) -> str:
    """Write values in a row; of many numbers the first, and how many there are."""
    cut = len(values) > SHOWN_NUMBERS and all(isinstance(v, int | float) for v in values)
    shown = ", ".join(map(str, values[:FIRST_NUMBERS] if cut else values))
    return f"{shown}, ... ({len(values)} in all)" if cut else shown


def _import_checkpoint(file: Path, name: str, pixel_size_um: float | None) -> Path:
    """Turn a checkpoint of the authors' code into one of the user's models."""
    from napari_damm.model_file import check_new_name, save_model, user_folder
    from napari_damm.model_file.import_authors import import_authors_checkpoint

    target = user_folder() / f"{check_new_name(name)}{_MODEL_FILE}"
    if pixel_size_um is not None and not 0 < pixel_size_um < float("inf"):
        raise ValueError(f"--pixel-size must be above 0 um, got {pixel_size_um}")
    model = import_authors_checkpoint(file, pixel_size_um=pixel_size_um)
    model.card["name"] = name
    target.parent.mkdir(parents=True, exist_ok=True)
    return save_model(model, target)


def _export_package(name: str, file: Path, mode: str, seed: int, author: str | None) -> Path:
    """Pack a model with the noise that Predict would start its first window from."""
    from napari_damm.engine.config import EXPECTED, PredictConfig
    from napari_damm.engine.noise import window_noise
    from napari_damm.model_file import bundled_folder, find_model, load_model
    from napari_damm.model_file.bioimageio import (
        BUNDLED_AUTHOR,
        SIDE,
        PackageChoice,
        export_bioimageio,
    )

    if mode not in PACKAGE_MODES:
        raise ValueError(f"--mode of a package must be {', '.join(PACKAGE_MODES)}, got {mode!r}")
    if author is None and find_model(name).parent != bundled_folder():
        raise ValueError(f"a package names who made its model: give --author for {name}")
    model = load_model(name, "cpu")
    config = PredictConfig(mode=mode, seed=seed)
    made, steps = config.sampler_for(model.config.unet.predicts)
    latent = SIDE // model.config.latent_factor
    start = window_noise(seed, 0, 0, (model.config.unet.latent_channels, latent, latent), 0)
    if made == EXPECTED and model.config.expected_from == "zero":
        start[:] = 0
    choice = PackageChoice(made, steps, seed, start, author or BUNDLED_AUTHOR)
    return export_bioimageio(model, file, choice)
