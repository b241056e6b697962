"""Settings in one place: what each is for, and what may be chosen, beside its default.

A config is a frozen dataclass whose fields are made by `setting`; its `__post_init__` calls
`check_settings`. All that asks for settings is made from the same fields:

- the command line: `cli.settings_options` turns `settings_of(Config)` into options;
- a settings file: `Config.from_dict` refuses what is unknown, `check_settings` what is odd;
- a widget: for one `entry` of `settings_of(Config)`,

      create_widget(entry.default, annotation=entry.kind, name=entry.name, label=entry.label,
                    options={"tooltip": entry.help, "min": entry.smallest, "max": entry.largest})

  in magicgui's words (`smallest` and `largest` are None without a limit), or, where
  `entry.choices` is not empty, a choice of its keys, whose meanings are for the items' tooltips.
  `entry.left_out` is what to show for None, such as "as many as suit".

Nothing is read from docstrings, which `python -OO` drops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeGuard

from napari_damm.util.advice import Advice

DEVICES = {
    "auto": "the fastest device there is",
    "cpu": "the processor: slow, works everywhere",
    "cuda": "an NVIDIA graphics card",
    "mps": "the graphics processor of an Apple computer",
}
MAX_SEED = 2**64 - 1

_KEY = "napari_damm"
_KINDS = {"int": int, "float": float, "str": str, "bool": bool}


@dataclass(frozen=True)
class Setting:
    """One setting of a config.

    Parameters
    ----------
    help
        What it is for, a sentence for people.
    choices
        What may be chosen, each with what it means; empty if it is free.
    one_of
        The numbers that may be chosen; empty if it is free.
    least, most
        Limits of a number that are allowed themselves.
    above, below
        Limits of a number that are not.
    left_out
        What None stands for, in words.
    label
        Its name for people, where the field's is not one.
    name, kind, optional, default
        As the dataclass has it: `kind` is int, float, str, bool, or object for what is checked
        elsewhere; an optional one may be None.
    """

    help: str
    choices: Mapping[str, str] = field(default_factory=dict)
    one_of: tuple[int, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    left_out: str = ""
    label: str = ""
    name: str = ""
    kind: type = object
    optional: bool = False
    default: Any = None

    @property
    def smallest(self) -> float | None:
        """The lower limit of a control."""
        return self.above if self.least is None else self.least

    @property
    def largest(self) -> float | None:
        """The upper limit of a control."""
        return self.below if self.most is None else self.most

    def check(self, value: Any) -> Any:
        """Return a value as it is kept: whole numbers as int.

        Raises
        ------
        ValueError
            Naming the setting and the value, if it is refused.
        """
        if value is None and self.optional:
            return None
        if self.choices:
            if not (isinstance(value, str) and value in self.choices):
                raise self._refusal(f"one of {', '.join(self.choices)}", value)
        elif self.kind is bool:
            if not isinstance(value, bool):
                raise self._refusal("true or false", value)
        elif self.kind is str:
            if not isinstance(value, str):
                raise self._refusal("text", value)
        elif self.kind in (int, float):
            return self._checked_number(value)
        return value

    def _checked_number(self, value: Any) -> float:
        if not is_finite(value):
            raise self._refusal(self._range() or "a finite number", value)
        limits = (
            not self.one_of or value in self.one_of,
            self.least is None or value >= self.least,
            self.above is None or value > self.above,
            self.most is None or value <= self.most,
            self.below is None or value < self.below,
        )
        if not all(limits):
            raise self._refusal(self._range(), value)
        if self.kind is int:
            if value != int(value):
                raise self._refusal("a whole number", value)
            return int(value)
        return value

    def _range(self) -> str:
        """Say in words which numbers are allowed."""
        if self.one_of:
            return f"one of {', '.join(map(str, self.one_of))}"
        if self.least is not None and self.most is not None:
            return f"in {self.least}..{self.most}"
        limits = (
            ("{} or more", self.least),
            ("above {}", self.above),
            ("{} or less", self.most),
            ("below {}", self.below),
        )
        return " and ".join(words.format(value) for words, value in limits if value is not None)

    def _refusal(self, rule: str, value: Any) -> ValueError:
        return ValueError(Advice(f"must be {rule}, got {_shown(value)}", parameter=self.name))


def setting(default: Any, help: str, **more: Any) -> Any:
    """Make a field of a config; `more` are the parameters of `Setting`."""
    return field(default=default, metadata={_KEY: Setting(help, **more)})


def same_setting(config: type, name: str) -> Any:
    """Make a field that is a setting of another config as well."""
    known = settings_of(config)[name]
    return field(default=known.default, metadata={_KEY: replace(known, name="")})


def settings_of(config: Any) -> dict[str, Setting]:
    """Return the settings of a config, or of its class, by name and in their order."""
    return {each.name: _complete(each) for each in fields(config) if _KEY in each.metadata}


def check_settings(config: Any) -> None:
    """Check every setting of a config that is being made, by itself.

    Raises
    ------
    ValueError
        For the first that is refused.
    """
    for name, each in settings_of(config).items():
        object.__setattr__(config, name, each.check(getattr(config, name)))


def _complete(each: Field[Any]) -> Setting:
    """Add what the dataclass knows of a field; annotations are text, such as "int | None"."""
    kind, *others = (part.strip() for part in str(each.type).split("|"))
    described: Setting = each.metadata[_KEY]
    return replace(
        described,
        label=described.label or each.name.replace("_", " ").capitalize(),
        name=each.name,
        kind=_KINDS.get(kind, object),
        optional="None" in others,
        default=each.default,
    )


def is_finite(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number that a float can hold (a bool is none)."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # Python's whole numbers may be longer than any float
        return False


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole numbers of more than some thousand digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:97]}..."
