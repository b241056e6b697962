"""What advice calls a parameter where there are controls instead of options."""

from __future__ import annotations

NAMES = {
    "store": "place to save to",
    "out": "place to save to",
    "resume": "Resume",
    "pixel_size_um": "the pixel size",
    "nuclei": "a second layer",
    "vessels_channel": "vessels layer",
    "nuclei_channel": "nuclei layer",
    "target_channel": "target layer",
    "adapt_first_stages": "Autoencoders, in the advanced settings",
    "mode": "the mode",
    "steps": "the number of steps",
    "roi": "the region",
    "z": "napari's slider, after opening it as layers",
    "t": "napari's slider, after opening it as layers",
    "image": "the one that is meant as open layers",
    "epochs": "the number of epochs",
    "preset": "Start from",
    "band": "a band",
}


def control_name(parameter: str) -> str:
    """Return the label of a parameter's control, or its name in words."""
    return NAMES.get(parameter, parameter.replace("_", " "))
