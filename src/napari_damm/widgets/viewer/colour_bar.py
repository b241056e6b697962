"""napari's colour bar beside an NP map, shown without holding the screen up.

Of the first text on a canvas each letter is drawn large and measured, which takes a tenth of a
second. Here a few are made in each turn of the event loop, before the bar asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.camera import canvas_of

if TYPE_CHECKING:
    from napari.layers import Layer

LETTERS = ("ÅÉÑŐj", "gpqy ", "0.51")
"""vispy measures the first two groups for the height of any text; the last stand at the bar."""


def colour_bar_turns(viewer: Any, layer: Layer) -> list[Callable[[], None]]:
    """Return what to call, one in each turn of the event loop, to show a layer's colour bar."""
    if getattr(layer, "colorbar", None) is None:
        return []
    return [
        *(partial(_load, viewer, letters) for letters in LETTERS),
        partial(show_colour_bar, layer),
    ]


def show_colour_bar(layer: Layer) -> None:
    """Have napari, since 0.9, show what the colours of a map mean."""
    bar = getattr(layer, "colorbar", None)
    if bar is not None:
        bar.visible = True


def _load(viewer: Any, letters: str) -> None:
    """Make letters of the canvas's font, where napari lets us; else the bar makes them itself."""
    with suppress(AttributeError, TypeError, RuntimeError):
        info = canvas_of(viewer).font_info()
        font = info.font_manager.get_font(info.face)
        for letter in letters:
            font[letter]
