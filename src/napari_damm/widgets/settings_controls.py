"""Controls of a config's settings, made by magicgui from the config's own fields.

1. `settings_of(Config)` says of each setting its kind, default, limits, choices and what it is for.
2. `SettingsControls` makes one control of each: a choice, a number, a switch or a line of text. It
   bears the setting's name as its objectName, and its help as its tooltip.
3. A number that may be left out has one value more, below its lowest, that stands for None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QDoubleSpinBox, QFormLayout, QWidget

from napari_damm.util.devices import devices_here
from napari_damm.util.settings import DEVICES, Setting, settings_of
from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import set_up
from napari_damm.widgets.number_boxes import read_commas

LARGEST = 1_000_000
"""Of a number without a limit: a control needs one."""
AUTOMATIC = "auto"


class SettingsControls:
    """The controls of the settings `names` of a config class.

    `nothing` are the items that stand for None in choices that may be left out; `steps` by how much
    the arrows change a number, `texts` what stands beside a switch.
    """

    def __init__(
        self,
        config: type,
        names: Iterable[str],
        nothing: Mapping[str, str] | None = None,
        steps: Mapping[str, float] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        known = settings_of(config)
        self._nothing, self._steps, self._texts = nothing or {}, steps or {}, texts or {}
        self._settings = {name: known[name] for name in names}
        self._controls = {name: self._made(each) for name, each in self._settings.items()}

    def __getitem__(self, name: str) -> Any:
        """Return a control as magicgui knows it."""
        return self._controls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._controls)

    def qt(self, name: str) -> Any:
        """Return a control as Qt knows it."""
        return self._controls[name].native

    def meaning(self, name: str) -> str:
        """Say what the chosen item of a setting means."""
        return self._settings[name].choices.get(self._controls[name].value, "")

    def set(self, values: Mapping[str, Any]) -> None:
        """Set what is offered; anything else stays as it is."""
        for name, value in values.items():
            control = self._controls.get(name)
            offered = getattr(control, "choices", None)
            if control is None or (offered and value not in offered):
                continue
            control.value = value

    def add_rows(self, form: QFormLayout, *names: str) -> None:
        """Add a row for each of these settings to a form."""
        for name in names:
            form.addRow(self._settings[name].label, self.qt(name))

    def values(self) -> dict[str, Any]:
        """Return what is set, None for what is left out."""
        return {name: self._value(each) for name, each in self._settings.items()}

    def _value(self, each: Setting) -> Any:
        value = self._controls[each.name].value
        if _may_be_empty(each):
            return value or None
        if not _may_be_automatic(each):
            return value
        return None if value < (each.smallest or 0) else each.kind(value)

    def _made(self, each: Setting) -> Any:
        from magicgui.widgets import ComboBox, create_widget

        control: Any
        if each.choices:
            control = self._choice(each)
        elif each.one_of:
            control = ComboBox(name=each.name, choices=list(each.one_of), value=each.default)
            set_up(control.native, each.name)
        else:
            # magicgui's control of whole numbers cannot show a word in place of one.
            kind = float if _may_be_automatic(each) else each.kind
            control = create_widget(_default(each), kind, each.name, options=self._options(each))
        if isinstance(control.native, QDoubleSpinBox):
            control.native.setDecimals(_decimals(each))
            control.value = _default(each)
        native: QWidget = control.native
        native.setObjectName(each.name)
        left_out = f" Left out: {each.left_out}." if each.left_out else ""
        native.setToolTip(with_micro(f"{each.help}{left_out}"))
        if isinstance(native, QAbstractSpinBox):
            read_commas(native)
            if _may_be_automatic(each):
                native.setSpecialValueText(AUTOMATIC)
        return control

    def _options(self, each: Setting) -> dict[str, Any]:
        if each.kind is bool:
            return {"text": self._texts.get(each.name, "")}
        if each.kind not in (int, float):
            return {}
        smallest = each.smallest or 0
        largest = LARGEST if each.largest is None else each.largest
        step = self._steps.get(each.name, 1 if each.kind is int else 0.05)
        return {
            "min": smallest - 1 if _may_be_automatic(each) else smallest,
            "max": largest,
            "step": step,
        }

    def _choice(self, each: Setting) -> Any:
        from magicgui.widgets import ComboBox

        offered = _offered(each)
        nothing = self._nothing.get(each.name)
        control = ComboBox(name=each.name, choices=list(offered), nullable=nothing is not None)
        if nothing is not None:
            control.null_string = nothing
            control.reset_choices()
        control.value = each.default if each.default in control.choices else next(iter(offered))
        box: QComboBox = control.native
        set_up(box, each.name)
        for row in range(box.count()):
            meaning = offered.get(box.itemText(row), each.left_out)
            box.setItemData(row, with_micro(meaning), Qt.ItemDataRole.ToolTipRole)
        return control


def _offered(each: Setting) -> dict[str, str]:
    """Return the choices that this machine can have: of devices those that are there."""
    if each.choices != DEVICES:
        return dict(each.choices)
    here = devices_here()
    return {value: words for value, words in each.choices.items() if value in here}


def _may_be_automatic(each: Setting) -> bool:
    return each.optional and each.kind in (int, float)


def _may_be_empty(each: Setting) -> bool:
    return each.optional and each.kind is str and not (each.choices or each.one_of)


def _decimals(each: Setting) -> int:
    """Return how many decimals a number is shown with: two, or as many as its default has."""
    if each.kind is int:
        return 0
    exponent = Decimal(repr(each.default or 0.0)).as_tuple().exponent
    return max(2, 1 - int(exponent))


def _default(each: Setting) -> Any:
    if _may_be_empty(each):
        return each.default or ""
    if not _may_be_automatic(each):
        return each.default
    return (each.smallest or 0) - 1 if each.default is None else each.default
