"""Usage errors of numbers, in a sentence that shows the number: typer's does not.

`--pixel-size 0,65` becomes "--pixel-size must be a number, got '0,65': write 0.65". Which value it
was is looked up among the arguments, for typer says only the option.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

_ABOUT_NUMBERS = re.compile(r"valid (number|float|integer)")
_WITH_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def said_of_number(error: Exception, given: Sequence[str]) -> str:
    """Return the sentence; "" where the error is of another kind, or the value is not found."""
    about = _ABOUT_NUMBERS.search(str(getattr(error, "message", "")))
    param = getattr(error, "param", None)
    flags, most = getattr(param, "opts", ()), getattr(param, "nargs", 1)
    if about is None:
        return ""
    whole = about[1] == "integer"
    # given twice, an option means what was said last
    values = next(reversed(list(_values_of(flags, given, most))), [])
    wrong = next((value for value in values if not _is_number(value, whole)), None)
    if wrong is None:
        return ""
    rule = "a whole number" if whole else "a number"
    remedy = _remedy(wrong, whole)
    said = f"{max(flags, key=len)} must be {rule}, got {wrong!r}"
    return f"{said}: write {remedy}" if remedy else said


def _values_of(flags: Sequence[str], given: Sequence[str], most: int) -> Iterator[list[str]]:
    """Yield, each time an option is given, the values that follow it: so many, if they are."""
    for place, argument in enumerate(given, 1):
        flag, equals, value = argument.partition("=")
        if flag in flags:
            following = [value] if equals else given[place : place + most]
            yield list(takewhile(_is_value, following))


def _is_value(argument: str) -> bool:
    return not argument.startswith("-") or _is_like_number(argument)


def _remedy(value: str, whole: bool) -> str:
    """Return what to write in place of a number with commas: of decimals, or of thousands."""
    plain, with_point = value.replace(",", ""), value.replace(",", ".")
    if _GROUPED.fullmatch(value):
        may_be_decimal = not whole and value.count(",") == 1
        return f"{with_point}, or {plain} for thousands" if may_be_decimal else plain
    return with_point if _WITH_COMMA.fullmatch(value) and not whole else ""


def _is_like_number(argument: str) -> bool:
    return argument[1:2].isdigit() or argument[1:2] in (",", ".")


def _is_number(value: str, whole: bool) -> bool:
    kind: Any = int if whole else float
    try:
        kind(value)
    except ValueError:
        return False
    return True
