"""Which channels of a batch's files are vessels and nuclei, where their names do not say so."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from napari_damm.util.text import name_or_index
from napari_damm.widgets.control_names import control_name

ROLES = ("vessels", "nuclei")
OWN = {
    "vessels_channel": "vessels, in Channels",
    "nuclei_channel": "nuclei, in Channels",
    "nuclei_pattern": "Nuclei in",
}


class ChannelNames(QWidget):
    """Two names, or numbers from 0; empty for the channels that are called so."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._fields = {role: QLineEdit() for role in ROLES}
        for role, field in self._fields.items():
            field.setObjectName(f"batch_{role}_channel")
            field.setPlaceholderText(f"{role}, as named")
            field.setToolTip(f"Name, or number from 0, of the {role} channel in every file")
            field.textChanged.connect(lambda _: self.changed.emit())
            row.addWidget(field)

    @property
    def options(self) -> dict[str, str | int]:
        """What is entered, as arguments of `open_slide`."""
        said = {role: field.text().strip() for role, field in self._fields.items()}
        return {
            f"{role}_channel": channel
            for role, text in said.items()
            if (channel := name_or_index(text or None)) is not None
        }


def batch_control(parameter: str) -> str:
    """Return what advice calls a parameter of a batch."""
    return OWN.get(parameter) or control_name(parameter)
