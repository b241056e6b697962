"""A button that opens the page of the documentation about a widget."""

from __future__ import annotations

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QPushButton

from napari_damm.widgets.controls import NARROWEST, button

DOCUMENTATION = "https://napari-damm.github.io/napari-damm"


def help_button(page: str) -> QPushButton:
    """Make the button; `page` is a page of the documentation."""
    address = f"{DOCUMENTATION}/{page}"
    made = button("help", "Help", f"Steps, and how to read what it shows: {address}")
    made.setMinimumWidth(NARROWEST)
    made.clicked.connect(lambda: QDesktopServices.openUrl(QUrl(address)))
    return made
