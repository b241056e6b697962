"""Sentences about what went wrong that name no option, button or keyword: each front end does.

1. Whoever finds a fault raises a builtin error with an `Advice`: what is wrong, which parameter it
   is about, and the remedy, a template such as "choose another {store}, or continue with {resume}".
2. Advice is a string, with the parameters as Python calls them: `str(error)` is fit to be read.
3. A front end puts it into its own words (`in_words`): the command line writes options, a widget
   its labels. Warnings among a job's events carry advice in the same way.

Parameters have one name everywhere: that of the function's argument or of the config's field.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

from napari_damm.util.text import printable

SWITCHES = ("resume", "coarse_pixels")
Names = Callable[[str], str]
"""What a front end calls a parameter."""


def python_name(parameter: str) -> str:
    """Call a parameter as Python does; a switch is something to set."""
    return f"{parameter}=True" if parameter in SWITCHES else parameter


class Advice(str):
    """What is wrong, the parameter it is about, and the remedy, in one sentence.

    Parameters
    ----------
    problem
        What is wrong. Plain text, for it may hold anybody's paths and names. With a `parameter` it
        is what is to be said of that: "must be 1 or more, got 0".
    remedy
        What to do, a template: "{store}" is the parameter `store`, or one of the `values`.
    parameter
        The parameter that the problem is about, with which the sentence then begins.
    values
        Plain texts for the remedy.
    """

    problem: str
    remedy: str
    parameter: str
    values: dict[str, Any]

    def __new__(
        cls, problem: str, remedy: str = "", *, parameter: str = "", **values: Any
    ) -> Advice:
        """Make the string that Python users read."""
        self = super().__new__(cls, _sentence(problem, remedy, parameter, values, python_name))
        self.problem, self.remedy, self.parameter = problem, remedy, parameter
        self.values = values
        return self

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that the sentence names, in its order."""
        named = [name for _, name, _, _ in string.Formatter().parse(self.remedy) if name]
        about = [self.parameter] if self.parameter else []
        return tuple(dict.fromkeys(about + [name for name in named if name not in self.values]))

    def said_with(self, names: Names) -> str:
        """Return the sentence with the parameters called by `names`."""
        return _sentence(self.problem, self.remedy, self.parameter, self.values, names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Stay advice on the way from a worker process."""
        return _advice, (self.problem, self.remedy, self.parameter, self.values)


def advice_of(error: BaseException) -> Advice | None:
    """Return the advice that an error carries."""
    return next((part for part in error.args if isinstance(part, Advice)), None)


def in_words(text: str, names: Names) -> str:
    """Return a text in a front end's words, if it is advice; any other as it is."""
    return text.said_with(names) if isinstance(text, Advice) else text


def _advice(problem: str, remedy: str, parameter: str, values: dict[str, Any]) -> Advice:
    return Advice(problem, remedy, parameter=parameter, **values)


def _sentence(
    problem: str, remedy: str, parameter: str, values: dict[str, Any], names: Names
) -> str:
    subject = f"{names(parameter)} " if parameter else ""
    advised = f": {remedy.format_map(_Words(values, names))}" if remedy else ""
    return printable(f"{subject}{problem}{advised}")


class _Words(dict[str, Any]):
    """The values of a remedy, and the words for its parameters."""

    def __init__(self, values: dict[str, Any], names: Names) -> None:
        super().__init__(values)
        self._names = names

    def __missing__(self, parameter: str) -> str:
        return self._names(parameter)
