"""What a result looks like in napari: its maps, as layers to be made.

1. `Maps` are the arrays of a result, running or finished, and where they lie.
2. `layer_tuples` says what they look like: NP distribution (image), NP std (image; only where
   several samples are drawn), Uncertainty (image), Familiarity (image; only where the model says
   which images it knows) and Branch (labels), each placed in the world of the vessels. Running
   jobs and the reader use the same.
3. A result of which a part is missing says so in its layers' names: "Branch (partial, 41 %)".

Only the NP map is visible at first: it is the answer, and its blending leaves the vessels and
nuclei recognisable below. The others are one click away.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_damm.events import Branch
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.verdict import VERDICT, verdict_in_words

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

    from napari_damm.events import Planned
    from napari_damm.store import Result

NP, STD, UNCERTAINTY, BRANCH = "NP distribution", "NP std", "Uncertainty", "Branch"
FAMILIARITY = "Familiarity"
PREVIEW, MASKED = "Preview", "sure map"
PARTICLES = (NP, PREVIEW, MASKED)
"""What shows particles: of these one is to be seen at a place."""
STD_LIMITS = (0.0, 0.35)
"""The same for every result, so that they can be compared; few pixels lie beyond."""
CELL_PX = 32
DOUBT = [[0.9, 0.2, 0.1, 0.0], [0.9, 0.2, 0.1, 1.0]]
"""Red, from transparent to opaque."""
PARTIAL = re.compile(r" \(partial, \d+ %\)")
MAP = "napari_damm_map"  # which of the maps a layer shows, whatever it is called
UM_PER_UNIT = "napari_damm_um_per_unit"
"""In a layer's metadata: how many um one of its units is, though that may be no length (pixel)."""
FIRST_PIXEL = "napari_damm_first_pixel"
"""In a layer's metadata: where (y, x) the map's first pixel lies in its first cell."""


@dataclass(frozen=True)
class Maps:
    """What there is to show: arrays, the size of an NP pixel, and the corners in um (y, x).

    `std_levels` is empty where a single sample is drawn. `share_done` is below 1 where a part is
    missing because a run ended early.
    """

    np_levels: Sequence[Any]
    uncertainty: Any
    branch: Any
    pixel_size_um: float
    corner_um: tuple[float, float]
    cells_corner_um: tuple[float, float]
    record: Mapping[str, Any]
    std_levels: Sequence[Any] = ()
    share_done: float = 1.0
    familiarity: Any = None

    @property
    def modalities(self) -> tuple[str, ...]:
        """The model's names for primary, secondary and target."""
        return modalities_of(self.record)

    @classmethod
    def of_plan(cls, planned: Planned) -> Maps:
        """Take the live maps of a job that has just been planned."""
        live = planned.preview
        return cls(
            np_levels=list(live.np_levels),
            uncertainty=live.uncertainty,
            branch=live.branch,
            pixel_size_um=planned.pixel_size_um,
            corner_um=planned.origin,
            cells_corner_um=live.cells_origin_um,
            record=planned.record,
            std_levels=list(live.std_levels),
            familiarity=live.familiarity,
        )

    @classmethod
    def of_result(cls, result: Result) -> Maps:
        """Take the maps of a finished or reopened result."""
        return cls(
            np_levels=list(result.levels),
            uncertainty=result.uncertainty,
            branch=result.branch,
            pixel_size_um=result.pixel_size_um,
            corner_um=result.origin,
            cells_corner_um=result.cells_origin_um,
            record=result.record,
            std_levels=list(result.std_levels),
            share_done=1.0 if result.complete else result.shards_done / max(result.shards, 1),
            familiarity=result.familiarity,
        )

    def arrays(self) -> dict[str, Any]:
        """Return what each layer shows, the bottom one first."""
        found = {NP: self.np_levels, STD: self.std_levels}
        pyramids = {
            name: list(levels) if len(levels) > 1 else levels[0]
            for name, levels in found.items()
            if levels
        }
        familiar = {} if self.familiarity is None else {FAMILIARITY: self.familiarity}
        return {**pyramids, UNCERTAINTY: self.uncertainty, **familiar, BRANCH: self.branch}


def modalities_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a record's names for primary, secondary and target."""
    model = record.get("model") or {}
    return tuple(model.get("modalities", ("vessels", "nuclei", "nanoparticles")))


def branch_meanings(modalities: Sequence[str]) -> dict[Branch, str]:
    """Say in words what the labels of the Branch layer mean."""
    primary, secondary = modalities[:2]
    return {
        Branch.UNI_MODAL: f"uni-modal: {secondary} not trusted",
        Branch.MULTI_MODAL: f"multi-modal: {primary} and {secondary}",
    }


def layer_tuples(maps: Maps, world: World) -> list[LayerDataTuple]:
    """Return the layers as (data, arguments, type), bottom one first."""
    from napari.utils.colormaps import Colormap, DirectLabelColormap

    fine = world.place(maps.pixel_size_um, maps.corner_um)
    coarse = world.place(maps.pixel_size_um * CELL_PX, maps.cells_corner_um)
    pyramid = {"multiscale": len(maps.np_levels) > 1, **fine}
    np_map = {
        "colormap": "inferno",
        "contrast_limits": (0.0, 1.0),
        "blending": "additive",
        **pyramid,
    }
    std = {
        "colormap": "magma",
        "contrast_limits": STD_LIMITS,
        "blending": "translucent_no_depth",
        "visible": False,
        **pyramid,
    }
    # Only doubt is tinted: what is sure stays as it is.
    uncertainty = {
        "colormap": Colormap(DOUBT, name="doubt"),
        "contrast_limits": (0.0, 1.0),
        "blending": "translucent_no_depth",
        "opacity": 0.8,
        "interpolation2d": "nearest",
        "visible": False,
        **coarse,
    }
    # Dark where the images are unlike those that the model knows.
    familiarity = {**uncertainty, "colormap": "gray", "contrast_limits": (0.0, 0.2)}
    meanings = branch_meanings(maps.modalities)
    colours: dict[int | None, str] = {None: "transparent", Branch.NOT_PREDICTED: "transparent"}
    colours |= {int(code): code.colour for code in meanings}
    branch = {
        "colormap": DirectLabelColormap(color_dict=colours),
        "features": {
            "index": [int(code) for code in meanings],
            "predicted from": list(meanings.values()),
        },
        "opacity": 0.4,
        "visible": False,
        **coarse,
    }
    looks = {NP: np_map, STD: std, UNCERTAINTY: uncertainty, BRANCH: branch}
    looks[FAMILIARITY] = familiarity
    record = dict(maps.record)
    corners = zip(maps.corner_um, maps.cells_corner_um, strict=True)
    first = tuple(round((pixel - cell) / maps.pixel_size_um) for pixel, cell in corners)
    return [
        (
            array,
            {
                "name": with_share(name, maps.share_done),
                **looks[name],
                "metadata": {
                    RESULT_KEY: record,
                    MAP: name,
                    VERDICT: verdict_in_words(record),
                    UM_PER_UNIT: world.um_per_unit,
                    FIRST_PIXEL: first,
                },
            },
            "labels" if name == BRANCH else "image",
        )
        for name, array in maps.arrays().items()
    ]


def with_share(name: str, share_done: float) -> str:
    """Add to a layer's name that only a part is there, or take that back (`share_done` 1)."""
    name = PARTIAL.sub("", name)
    # Rounded down: what is not finished is never called 100 %.
    return name if share_done >= 1 else f"{name} (partial, {math.floor(100 * share_done)} %)"
