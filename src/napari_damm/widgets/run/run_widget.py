"""What is common to the widgets that run something: one run at a time, and its end is said.

A run whose widget is closed is stopped. Nobody sees the widget's own status line any more, so
napari says how it ended. What is opened beside another of them becomes a tab (`dock_tabs`), once:
where somebody moves it then, it stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import Scrolled
from napari_damm.widgets.run.activity import Activity
from napari_damm.widgets.run.dock_tabs import show_as_tab

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_damm.widgets.run.live_run import LiveRun
    from napari_damm.widgets.run.run_controls import RunControls

LOADING = "Loading the model engine…"
MARGIN = 9  # px


class RunWidget(QWidget):
    """A widget that has at most one run, and stops it when it is closed."""

    ended = Signal(str)  # the sentence with which a run came to its end
    what = "The run"  # what is stopped when the widget is closed
    stopping = "Stopping…"

    def __init__(self, controls: RunControls) -> None:
        super().__init__()
        self._run: LiveRun | None = None
        self._activity: Activity | None = None
        self._controls = controls
        controls.stop.clicked.connect(self._stop)
        self._shown = False
        self._docked = QTimer(self)  # once napari is done with placing it
        self._docked.setSingleShot(True)
        self._docked.timeout.connect(self._share_place)  # no cycle: Qt would be torn down late

    def _add_form(self, form: QWidget) -> Scrolled:
        """Have a form scroll, above the controls of the run, which are always seen."""
        layout, scrolled = QVBoxLayout(self), Scrolled(form)
        layout.setContentsMargins(0, 0, 0, MARGIN)
        layout.setSpacing(0)
        layout.addWidget(scrolled, 1)
        layout.addWidget(self._controls)
        self._controls.column.setContentsMargins(MARGIN, 6, MARGIN, 0)
        return scrolled

    @property
    def running(self) -> bool:
        """Whether there is a run."""
        return self._run is not None

    def _begin(self, run: LiveRun) -> None:
        """Start a run, and show what it says."""
        self._run = run
        run.status_changed.connect(self._controls.status.say)
        run.progress_changed.connect(self._controls.progress.show_progress)
        run.legend_changed.connect(self._controls.legend.say)
        self._activity = Activity(self.what, self._stop)
        run.progress_changed.connect(self._activity.show)
        run.ended.connect(self._on_ended)
        self._controls.progress.show_progress(0.0, "")
        self._controls.status.say(LOADING)
        run.start()
        self._update()

    def _stop(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._controls.stop.setEnabled(False)
            self._controls.status.say(self.stopping)

    def _on_ended(self, sentence: str) -> None:
        run, self._run = self._run, None
        if self._activity is not None:
            self._activity.close()
            self._activity = None
        self._controls.status.say(sentence)
        if run is not None:
            self._after_run(run)
            run.deleteLater()
        self.ended.emit(sentence)

    def _update(self) -> None:
        """Say whether a run is possible, or why not."""
        raise NotImplementedError

    def _after_run(self, run: LiveRun) -> None:
        """Become ready for the next run."""
        raise NotImplementedError

    def showEvent(self, event: QShowEvent | None) -> None:
        """Share the place of another widget of ours that is open."""
        super().showEvent(event)
        if not self._shown:
            self._shown = True
            self._docked.start(0)

    def _share_place(self) -> None:
        show_as_tab(self, RunWidget)

    def changeEvent(self, event: QEvent | None) -> None:
        """Stop a run whose widget is taken out of its dock: napari does so to close it."""
        super().changeEvent(event)
        moved = event is not None and event.type() == QEvent.Type.ParentChange
        if moved and self.parent() is None and self._run is not None:
            self._run.close()
            _notify(
                f"{self.what} was stopped, because its widget was closed. "
                f"{self._controls.status.text()}"
            )


def _notify(message: str) -> None:
    """Have napari say something, wherever its window is."""
    from napari.utils.notifications import show_warning

    show_warning(with_micro(message))
