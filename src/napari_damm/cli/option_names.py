"""What advice calls a parameter on the command line: its option."""

from __future__ import annotations

from napari_damm.util.advice import in_words

# Options that are not called as the parameter is, or that advice shows with what they take.
NAMES = {
    "store": "--out",
    "client": "--scheduler",
    "pixel_size_um": "--pixel-size UM",
    "nuclei": "--nuclei FILE",
    "image": "--image N|NAME",
    "z": "--z N",
    "t": "--t N",
}


def option_name(parameter: str) -> str:
    """Return the option of a parameter."""
    return NAMES.get(parameter) or f"--{parameter.replace('_', '-')}"


def in_options(text: str) -> str:
    """Return a text with its parameters, if it is advice about some, written as options."""
    return in_words(text, option_name)
