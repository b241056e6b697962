"""Widgets of ours that are open at once share one place of napari's window, as tabs.

napari puts each below the other, and its window grows with them: with three it is higher than the
screen of a laptop, whose lower edge then hides what starts a run.
"""

from __future__ import annotations

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget


def show_as_tab(widget: QWidget, kind: type[QWidget]) -> None:
    """Put the dock of a widget on that of another of its kind, on the same side, and in front."""
    dock = _dock_of(widget)
    window = None if dock is None else dock.parentWidget()
    if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    for other in window.findChildren(QDockWidget):
        beside = window.dockWidgetArea(other) == window.dockWidgetArea(dock)
        if other is not dock and beside and other.findChild(kind) is not None:
            window.tabifyDockWidget(other, dock)
            dock.raise_()
            return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
