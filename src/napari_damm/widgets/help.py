"""A line that opens the page of the documentation about a widget."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel

DOCUMENTATION = "https://napari-damm.github.io/napari-damm"


def help_link(page: str) -> QLabel:
    """Make the line; `page` is a page of the documentation."""
    label = QLabel(f'<a href="{DOCUMENTATION}/{page}">Help: steps, and how to read the maps</a>')
    label.setObjectName("help")
    label.setOpenExternalLinks(True)
    label.setToolTip(f"Opens {DOCUMENTATION}/{page} in a browser")
    return label
