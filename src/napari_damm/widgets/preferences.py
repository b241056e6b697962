"""What a person has set once for all sessions: napari's Preferences page, where there is one.

1. napari 0.9 makes the page from the manifest and keeps its values in a file of ours; before that
   there is none, and every session begins with the defaults.
2. Of two plugins that read a path napari asks which is to, unless its own Preferences name one for
   what is called so. They are made to name ours for folders that are called as only our results
   are, and for OME-TIFFs and OME-Zarrs where no plugin but napari's own reads them too: what is no
   section and no result of ours, our reader hands on to napari's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
PLUGIN = "napari-damm"
KEPT = ("mode", "samples", "device")
RESULT_ENDING = ".damm.ome.zarr"
# napari ends a folder's path with its separator before it compares; no file in it is meant
RESULT_PATTERN = f"*{RESULT_ENDING}/"
HANDED_ON = (".ome.tif", ".ome.tiff", ".ome.zarr")
SHARED_PATTERNS = ("*.ome.tif", "*.ome.tiff", "*.ome.zarr/")
NAPARI = "napari"  # as what its own reader is known


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


def open_results_unasked() -> None:
    """Have napari open our results, OME-TIFFs and OME-Zarrs by our reader, without a question.

    Another choice for such names is left; the preference `open_results` takes ours back.
    """
    settings = _napari_plugins()
    if settings is None:
        return
    wanted = bool(getattr(_page(), "open_results", True))
    readers = dict(settings.extension2reader)
    if wanted:
        readers.setdefault(RESULT_PATTERN, PLUGIN)
        for pattern in SHARED_PATTERNS:
            if _is_free(pattern, readers):
                readers[pattern] = PLUGIN
    else:
        ours = (RESULT_PATTERN, *SHARED_PATTERNS)
        readers = {p: name for p, name in readers.items() if p not in ours or name != PLUGIN}
    if readers != settings.extension2reader:
        try:
            settings.extension2reader = readers
        except (ValueError, OSError) as error:
            log.debug("napari goes on asking who reads results: %s", error)


def _is_free(pattern: str, readers: Mapping[str, str]) -> bool:
    """Tell whether nobody has chosen who reads such files, and only napari and we could."""
    from npe2 import PluginManager

    file = pattern.replace("*", "a")
    if any(fnmatch(file, chosen) for chosen in readers if chosen != RESULT_PATTERN):
        return False
    some_folder = str(Path(__file__).parent)  # of folders npe2 asks whoever reads any
    path = some_folder if pattern.endswith("/") else file
    could = PluginManager.instance().iter_compatible_readers([path])
    return {reader.plugin_name for reader in could} == {NAPARI, PLUGIN}


def _napari_plugins() -> Any:
    """Return napari's own settings of plugins; None where it cannot read them."""
    try:
        from napari.settings import get_settings

        return get_settings().plugins
    except Exception as error:
        log.debug("There are no settings of plugins: %s", error)
        return None


def _page() -> Any:
    try:
        from napari.settings import get_plugin_settings

        return get_plugin_settings(PLUGIN).prediction
    except Exception as error:  # napari before 0.9, or settings that it cannot read
        log.debug("There are no preferences: %s", error)
        return None
