"""The commands `napari-damm models ...`: what models there are, and their cards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
_MODEL_FILE = ".safetensors"

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


@models.command(help="Copy a model into a file of its own.")
def export(model: _Model, file: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Copy a model, and print where to."""
    from napari_damm.model_file import export_model

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
            yield f"{indent}{key}: {', '.join(map(str, value))}"
        else:
            yield f"{indent}{key}: {value}"


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
