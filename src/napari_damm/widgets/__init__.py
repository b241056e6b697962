"""The napari side: the only code of the package that imports napari, Qt or magicgui.

Importing this package loads none of them; a widget is looked up when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_damm.widgets.predict_widget import PredictWidget
    from napari_damm.widgets.train_widget import TrainWidget

__all__ = ["PredictWidget", "TrainWidget"]


def __getattr__(name: str) -> object:
    """Import the widget that is asked for, and nothing before that."""
    if name == "PredictWidget":
        from napari_damm.widgets.predict_widget import PredictWidget

        return PredictWidget
    if name == "TrainWidget":
        from napari_damm.widgets.train_widget import TrainWidget

        return TrainWidget
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
