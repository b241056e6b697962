"""The napari side: the only code of the package that imports napari, Qt or magicgui.

Importing this package loads none of them; a widget is looked up when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.widgets.analyze.widget import AnalyzeWidget
    from napari_damm.widgets.predict.widget import PredictWidget
    from napari_damm.widgets.train.widget import TrainWidget

__all__ = ["AnalyzeWidget", "PredictWidget", "TrainWidget"]


__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "analyze.widget": ["AnalyzeWidget"],
        "predict.widget": ["PredictWidget"],
        "train.widget": ["TrainWidget"],
    },
)
