"""What a result is saved as: all of it as OME-Zarr, a map as OME-TIFF, a picture for slides.

Where the library for it is installed the whole result can be an RO-Crate, too; one that lies where
it is to be saved is described there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_damm.engine.crate import can_write_crates, write_crate
from napari_damm.widgets.preferences import RESULT_ENDING
from napari_damm.widgets.viewer.result_figure import ENDINGS, write_figure
from napari_damm.widgets.viewer.result_maps import NP
from napari_damm.widgets.viewer.run_notes import notes_of
from napari_damm.widgets.viewer.writer import (
    STORE_ENDING,
    TIFF_ENDINGS,
    write_store,
    write_tiff,
)

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_damm.widgets.viewer.result_tools import RunLayers

STORE_FILTER = f"The whole result, all maps (*{STORE_ENDING})"
CRATE_FILTER = f"The whole result as an RO-Crate (*{STORE_ENDING})"


def ask_and_save(parent: QWidget, maps: Mapping[str, Layer]) -> str:
    """Ask where to, save, and say what was done; "" if nobody wants to any more.

    Raises
    ------
    ValueError, OSError
        In one sentence, if it cannot be saved.
    """
    filters: dict[str, str | None] = {STORE_FILTER: None}
    filters |= {CRATE_FILTER: None} if can_write_crates() else {}
    filters |= {f"{layer.name} (*{TIFF_ENDINGS[0]})": name for name, layer in maps.items()}
    start = str(Path.home() / f"result{RESULT_ENDING}")
    path, chosen = QFileDialog.getSaveFileName(
        parent,
        "Save the result",
        start,
        ";;".join(filters),
        options=QFileDialog.Option.DontConfirmOverwrite,  # nothing is ever overwritten
    )
    if path and chosen == CRATE_FILTER:
        return save_crate(path, maps)
    return save(path, maps, filters.get(chosen)) if path else ""


def ask_and_draw(parent: QWidget, run: RunLayers) -> str:
    """Ask where to, write the picture, and say what was done; "" if nobody wants to any more.

    Raises
    ------
    ValueError, OSError
        In one sentence, if it cannot be drawn or saved.
    """
    start = str(Path.home() / "nanoparticles.png")
    path, chosen = QFileDialog.getSaveFileName(
        parent, "Save a picture", start, "Picture (*.png);;Drawing (*.svg)"
    )
    if not path:
        return ""
    if not path.lower().endswith(ENDINGS):
        path += ".svg" if "svg" in chosen else ".png"
    write_figure(path, run)
    return f"Saved to {path}"


def save_crate(path: str, maps: Mapping[str, Layer]) -> str:
    """Save the whole result as an RO-Crate, or describe it where it lies; say what was done."""
    path = str(Path(path.removesuffix(STORE_ENDING) + STORE_ENDING))
    result = getattr(notes_of(next(iter(maps.values()))), "result", None)
    lies_at = getattr(result, "path", None)
    if lies_at is None or Path(lies_at).resolve() != Path(path).resolve():
        save(path, maps)
    return f"Saved to {path}, described in {write_crate(path).name}"


def save(path: str, maps: Mapping[str, Layer], wanted: str | None = None) -> str:
    """Save the whole result, or the `wanted` map, by the ending of the path; say what was done."""
    layer = maps.get(wanted or NP) or next(iter(maps.values()))
    as_tiff = wanted is not None or path.lower().endswith(TIFF_ENDINGS)
    ending = TIFF_ENDINGS[0] if as_tiff else STORE_ENDING
    if not path.lower().endswith((*TIFF_ENDINGS, STORE_ENDING)):
        path += ending
    if Path(path).exists():
        raise ValueError(f"{Path(path).name} exists already: choose another name to save to")
    data, attributes, _ = layer.as_layer_data_tuple()
    (write_tiff if as_tiff else write_store)(path, data, attributes)
    return f"Saved to {path}"
