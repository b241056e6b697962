"""Where widgets tell each other that there is a new model."""

from __future__ import annotations

from functools import cache

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined,unused-ignore]


class ModelHub(QObject):
    """`model_added(viewer, name)`: a model was added by a widget of that viewer."""

    model_added = Signal(object, str)


def same_viewer(one: object, other: object) -> bool:
    """Tell whether two widgets have one viewer: napari wraps it anew for each."""
    return getattr(one, "__wrapped__", one) is getattr(other, "__wrapped__", other)


@cache
def model_hub() -> ModelHub:
    """Return the one hub of this process."""
    return ModelHub()
