"""Numbers and foreign text, written for people."""

from __future__ import annotations

import re
from collections.abc import Callable

# Control characters (C0, C1), what turns the direction of text around, line separators, and halves
# of surrogate pairs, which no encoding writes.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_UM = re.compile(r"""(?<![^\s\d(])um(2?)(?![\w"'-]|\.\w|/(?!px))""")
_MM2 = re.compile(r"""(?<![^\s\d(/])mm2(?![\w"'-]|\.\w|/)""")


def count(number: int, what: str, several: str = "") -> str:
    """Count things: "1 section", "3 sections"; `several` where that is no "s" more."""
    return f"{number} {what if number == 1 else several or f'{what}s'}"


def gigabytes(size: float) -> str:
    """Write a number of bytes: "1.4 GB", "20 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def duration(seconds: float) -> str:
    """Write about how long something takes: "40 s", "12 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def clock(seconds: float) -> str:
    """Write a time as on a clock that runs: "0:40", "2:05:00"."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def name_or_index(entered: str | None) -> str | int | None:
    """Return a channel, or an image of a file, as entered: digits as a number, anything else as is.

    No picture has as many as nine digits count, and int() refuses thousands of them.
    """
    is_number = entered is not None and entered.isdecimal() and len(entered) < 9
    return int(entered) if entered is not None and is_number else entered


def with_micro(text: str) -> str:
    """Write units as a screen can show them: "2 µm", "µm/px", "1/mm²"; terminals have "um".

    Names of files and what is to be typed ("um" in quotes) are left alone.
    """
    return _MM2.sub("mm²", _UM.sub(lambda found: "µm²" if found[1] else "µm", text))


def without_long_words(text: str, longest: int = 300) -> str:
    """Leave the middle out of words that are so long that nobody reads them."""
    return re.sub(
        rf"\S{{{longest},}}", lambda word: f"{word[0][: longest // 2]}...{word[0][-40:]}", text
    )


def printable(text: str, allowed: str = "") -> str:
    r"""Write control characters as escapes ("\x1b"), so that a terminal obeys none of them.

    A file's name or a model's card may hold some. `allowed` are left as they are.
    """
    return _UNPRINTABLE.sub(_escaped(allowed), text)


def _escaped(allowed: str) -> Callable[[re.Match[str]], str]:
    def escape(found: re.Match[str]) -> str:
        character = found[0]
        return character if character in allowed else ascii(character)[1:-1]

    return escape
