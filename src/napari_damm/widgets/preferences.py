"""What a person has set once for all sessions: napari's Preferences page, where there is one.

napari 0.9 makes the page from the manifest and keeps its values in a file of ours; before that
there is none, and every session begins with the defaults.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)
PLUGIN = "napari-damm"
KEPT = ("mode", "samples", "device")


def preferences() -> dict[str, Any]:
    """Return the preferences by name; {} where napari knows none."""
    page = _page()
    if page is None:
        return {}
    names = (*KEPT, "output_folder")
    return {name: getattr(page, name) for name in names if hasattr(page, name)}


def remember(values: Mapping[str, Any]) -> None:
    """Keep mode, samples and device for the next session, as they were used last."""
    page = _page()
    if page is None:
        return
    for name in KEPT:
        if name in values and getattr(page, name, None) != values[name]:
            try:
                setattr(page, name, values[name])
            except (ValueError, OSError) as error:  # a file that cannot be written stops nobody
                log.debug("The preference %s is not kept: %s", name, error)


def _page() -> Any:
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings(PLUGIN).prediction
    except Exception as error:  # napari before 0.9, or settings that it cannot read
        log.debug("There are no preferences: %s", error)
        return None
