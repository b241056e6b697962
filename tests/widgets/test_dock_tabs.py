"""Widgets that are open at once are tabs: napari's window stays as high as one of them needs."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QLabel

NAMES = ("Predict nanoparticles", "Fine-tune model", "Analyze nanoparticles")


@pytest.fixture
def viewer(make_napari_viewer, own_folders):
    return make_napari_viewer(show=True)


@pytest.fixture
def open_dock(viewer, dock_widget):
    """Open a widget from its menu's command and return its dock."""

    def open_(name: str) -> QDockWidget:
        parent = dock_widget(name, viewer).widget
        while not isinstance(parent, QDockWidget):
            parent = parent.parentWidget()
        settle()
        return parent

    return open_


def settle() -> None:
    for _ in range(20):  # each nesting of layouts takes a round of events
        QApplication.processEvents()


def test_each_becomes_a_tab_in_front_and_the_window_grows_no_higher(viewer, open_dock):
    window = viewer.window._qt_window
    first = open_dock(NAMES[0])
    alone = window.minimumSizeHint().height()
    others = [open_dock(name) for name in NAMES[1:]]
    assert window.minimumSizeHint().height() <= alone + 40  # the row of tabs
    assert set(window.tabifiedDockWidgets(first)) == set(others)
    shown = [not dock.visibleRegion().isEmpty() for dock in (first, *others)]
    assert shown == [False, False, True]


def test_where_somebody_moves_it_it_stays(viewer, open_dock):
    window = viewer.window._qt_window
    first, second = open_dock(NAMES[0]), open_dock(NAMES[2])
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, second)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, second)  # below the other
    assert window.tabifiedDockWidgets(first) == []
    second.hide()
    settle()
    second.show()
    settle()
    assert window.tabifiedDockWidgets(first) == []


def test_it_is_opened_alone_where_the_other_is_on_the_other_side(viewer, open_dock):
    window = viewer.window._qt_window
    first = open_dock(NAMES[0])
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, first)
    second = open_dock(NAMES[2])
    assert window.tabifiedDockWidgets(second) == []


@pytest.mark.parametrize("away", ["setFloating", "setHidden"])
def test_one_that_was_away_comes_back_as_a_tab(viewer, open_dock, away):
    first = open_dock(NAMES[0])
    getattr(first, away)(True)
    second = open_dock(NAMES[2])
    assert not second.visibleRegion().isEmpty()
    getattr(first, away)(False)
    settle()
    assert viewer.window._qt_window.tabifiedDockWidgets(second) == [first]


def test_other_people_s_widgets_are_left_where_they_are(viewer, open_dock):
    theirs = viewer.window.add_dock_widget(QLabel("theirs"), area="right")
    settle()
    ours = open_dock(NAMES[0])
    assert viewer.window._qt_window.tabifiedDockWidgets(ours) == []
    assert not theirs.visibleRegion().isEmpty()
