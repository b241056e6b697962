"""Options of the command line that are made from the settings of a config.

Every setting is an option of its name, `batch_size` as `--batch-size`; help, choices and defaults
are those of `util.settings`. What nobody says on the command line is left to the config.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, get_type_hints

import typer

from napari_damm.util.settings import Setting, settings_of

ModelName = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Model; the bundled one by default.")
]

# Settings that the command line takes in a form of its own.
_KINDS: Mapping[str, Any] = {"modalities": str, "roi": tuple[float, float, float, float]}
_METAVARS = {
    "modalities": "A,B,C",
    "pixel_size_um": "UM",
    "roi": "Y0 X0 Y1 X1",
    "samples": "K",
}

_Command = Callable[..., int]


def with_settings(
    config: type,
    leave_out: Collection[str] = (),
    flags: Mapping[str, tuple[str, ...]] | None = None,
    left_out: Mapping[str, str] | None = None,
    repeated: Collection[str] = (),
) -> Callable[[_Command], _Command]:
    """Give a command an option for every setting of a config.

    The command takes them as keyword arguments, None where nothing is said: see `said`.

    Parameters
    ----------
    config
        The config's class.
    leave_out
        Settings that are no options.
    flags
        Options of settings that are not called as the setting is.
    left_out
        What leaving a setting out means, where the config does not say it.
    repeated
        Settings that may be said several times: the command gets them as lists.
    """
    options = [
        _option(each, (flags or {}).get(name), (left_out or {}).get(name), name in repeated)
        for name, each in settings_of(config).items()
        if name not in leave_out and (each.kind is not object or name in _KINDS)
    ]
    return lambda command: with_options(command, options)


def with_options(command: _Command, options: list[inspect.Parameter]) -> _Command:
    """Give a command more options than those that its signature names."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(command).parameters.values()
        if each.kind is not each.VAR_KEYWORD
    ]
    signature = inspect.Signature([*own, *options], return_annotation=int)
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in (*own, *options)}
    return command


def option_flag(parameter: str) -> str:
    """Return the option that is called as a parameter is."""
    return f"--{parameter.replace('_', '-')}"


def said(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given on the command line."""
    return {name: value for name, value in settings.items() if value is not None}


def _option(
    each: Setting, flags: tuple[str, ...] | None, left_out: str | None, repeated: bool = False
) -> inspect.Parameter:
    meanings = "; ".join(f"{choice}: {meaning}" for choice, meaning in each.choices.items())
    shown = left_out or each.left_out or each.default
    default = "" if shown is None or shown is False else f"  [default: {shown}]"
    option = typer.Option(
        *(flags or (option_flag(each.name),)),
        metavar=_METAVARS.get(each.name) or "|".join(each.choices) or None,
        help=f"{each.help}{' ' if meanings else ''}{meanings}{default}",
        show_default=False,
    )
    kind = _KINDS.get(each.name, each.kind)
    kind = list[kind] if repeated else kind  # type: ignore[valid-type]
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(each.name, keyword, default=None, annotation=annotation)
