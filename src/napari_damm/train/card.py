"""What the model that comes out says of itself.

The card of the base goes on, but for what is no longer true of it; what it was trained on before
stands under `training_data.base`, so that nobody forgets where a model comes from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from napari_damm.model_file.header import LINEAR
from napari_damm.slide.normalisation import PERCENTILES
from napari_damm.train.curves import thin
from napari_damm.train.setup import Base
from napari_damm.trust import intervals, widths

NAMED_SECTIONS = 3
OF_ERRORS = (intervals.KEY, widths.KEY)
"""Entries that say how far maps are off: intervals, or, of too few windows for them, errors."""
_GONE = (
    "sha256", "metrics", "training", "training_data", "name", "curves", "versions",
    "spread_factor", "intended_use", "limits", "history", "trust", *OF_ERRORS,
)  # fmt: skip


def finite(value: Any) -> Any:
    """Return plain values with None for every number that JSON does not know (NaN, infinity)."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def make_card(
    base: Base, record: Mapping[str, Any], curves: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return the card of a trained model; `record` is the state in `run.json`."""
    kept = {key: value for key, value in base.model.card.items() if key not in _GONE}
    config = record["config"]
    made = {
        **kept,
        "name": config["name"],
        "modalities": record["modalities"],
        "pixel_size_um": base.model.card.get("pixel_size_um"),
        "intensity_reference": {
            "kind": "percentile",
            "low": PERCENTILES[0],
            "high": PERCENTILES[1],
        },
        "training_data": _training_data(base, record),
        "training": {
            "base": record["base"],
            "base_sha256": record["base_sha256"],
            "settings": config,
            "step": record["step"],
            "seconds": round(record["seconds"]),
            "device": record["device"],
            "first_stages": record.get("first_stages", {}),
            "lpips": bool(config["lpips"]),
            "discriminator": config["discriminator_from"] is not None,
        },
        "metrics": {
            "data": f"{record['validation_windows']} validation windows of 256 px that no training "
            f"patch touches, mode {record.get('validation_mode', 'unknown')}",
            "mean": dict(record["scores"]),
            "base": dict(record["base_scores"]),
            LINEAR: dict(record.get("linear_scores", {})),
        },
        "curves": _curves(curves),
        "versions": record["versions"],
        **{name: record[name] for name in ("trust", *OF_ERRORS) if record.get(name)},
    }
    return {key: finite(value) for key, value in made.items()}


def _training_data(base: Base, record: Mapping[str, Any]) -> dict[str, Any]:
    names = [str(section["name"]) for section in record["data"]]
    count = record["sections"]
    few = ", ".join(names[:NAMED_SECTIONS]) + (", ..." if count > NAMED_SECTIONS else "")
    what = "simulated tumour sections, no real tissue" if record["simulated"] else "own images"
    description = f"{count} {'section' if count == 1 else 'sections'} ({few}; {what})"
    found: dict[str, Any] = {
        "kind": "simulated" if record["simulated"] else "images",
        "description": description,
        "sections": record["data"],
        "number_of_sections": count,
        "sha256": record["data_sha256"],
        "pixel_size_um": record["pixel_size_um"],
        "patches": record["patches"],
    }
    if base.name is not None:
        before = base.model.card.get("training_data")
        earlier = before.get("description") if isinstance(before, Mapping) else before
        found["description"] += f", after '{base.name}'" + (f" ({earlier})" if earlier else "")
        found["base"] = before
    return found


def _curves(rows: Sequence[Mapping[str, str]]) -> dict[str, list[dict[str, float | str]]]:
    steps = thin([row for row in rows if row["loss"]])
    validations = [row for row in rows if row["ssim"]]
    return {
        "training": [_numbers(row, ("step", "loss_uni", "loss_multi", "confidence"), "phase")
                     for row in steps],
        "validation": [_numbers(row, ("step", "ssim", "psnr", "mse", "r", "r2", "std_ratio"))
                       for row in validations],
    }  # fmt: skip


def _numbers(row: Mapping[str, str], names: Sequence[str], *words: str) -> dict[str, float | str]:
    numbers: dict[str, float | str] = {}
    for name in names:
        value = float(row[name]) if row.get(name) else float("nan")
        if value == value and abs(value) != float("inf"):
            numbers[name] = value
    return numbers | {word: row[word] for word in words}
