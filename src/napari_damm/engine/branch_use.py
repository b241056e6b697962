"""How often a prediction trusted its second image, in an analyst's words.

Where it did not, the first image decides alone, or, in models that say so, both for half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def branch_use_in_words(record: Mapping[str, Any], multi_modal: int = 0, windows: int = 0) -> str:
    """Say how often the second image was trusted: "nuclei were trusted in 50 % of the windows".

    Parameters
    ----------
    record
        The job record: it counts what earlier runs and other processes did, too.
    multi_modal, windows
        How many windows trusted it, of how many, where the record does not count them.
    """
    names = (record.get("model") or {}).get("modalities", ("vessels", "nuclei"))
    multi_modal = record.get("multi_modal_windows", multi_modal)
    windows = record.get("windows_with_cells", record.get("windows", windows))
    return f"{names[1]} were trusted in {100 * multi_modal / max(windows, 1):.0f} % of the windows"
