"""The layers that show a result, running or finished.

1. `layer_tuples` says what they look like: NP distribution (image), NP std (image; only where
   several samples are drawn), Uncertainty (image) and Branch (labels), each placed in the world of
   the vessels. The reader uses the same.
2. `ResultLayers` adds them over a live preview when a job is planned, refreshes the shown ones
   while it runs, and gives them the final arrays and record when it ends.
3. Where the viewer shows the same store already (a run that was cancelled, or its result opened
   from disk), those layers are used again, as the analyst has set them up.

Only the NP map is visible at first: it is the answer, and its blending leaves the vessels and
nuclei recognisable below. The others are one click away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.events import Branch
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.roles import RESULT_KEY

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.types import LayerDataTuple

    from napari_damm.events import Planned
    from napari_damm.store import Result

NP, STD, UNCERTAINTY, BRANCH = "NP distribution", "NP std", "Uncertainty", "Branch"
STD_LIMITS = (0.0, 0.35)
"""The same for every result, so that they can be compared; few pixels lie beyond."""
CELL_PX = 32
MAP = "napari_damm_map"  # which of the maps a layer shows, whatever it is called
STORE_PATH = "napari_damm_path"


@dataclass(frozen=True)
class Maps:
    """What there is to show: arrays, the size of an NP pixel, and the corners in um (y, x).

    `std_levels` is empty where a single sample is drawn.
    """

    np_levels: Sequence[Any]
    uncertainty: Any
    branch: Any
    pixel_size_um: float
    corner_um: tuple[float, float]
    cells_corner_um: tuple[float, float]
    record: Mapping[str, Any]
    std_levels: Sequence[Any] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The model's names for primary, secondary and target."""
        model = self.record.get("model") or {}
        return tuple(model.get("modalities", ("vessels", "nuclei", "nanoparticles")))

    @classmethod
    def of_plan(cls, planned: Planned) -> Maps:
        """Take the live maps of a job that has just been planned."""
        preview = planned.preview
        return cls(
            np_levels=list(preview.np_levels),
            uncertainty=preview.uncertainty,
            branch=preview.branch,
            pixel_size_um=planned.pixel_size_um,
            corner_um=planned.origin,
            cells_corner_um=preview.cells_origin_um,
            record=planned.record,
            std_levels=list(preview.std_levels),
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
        )

    def arrays(self) -> dict[str, Any]:
        """Return what each layer shows, the bottom one first."""
        found = {NP: self.np_levels, STD: self.std_levels}
        pyramids = {
            name: list(levels) if len(levels) > 1 else levels[0]
            for name, levels in found.items()
            if levels
        }
        return {**pyramids, UNCERTAINTY: self.uncertainty, BRANCH: self.branch}


def branch_meanings(modalities: Sequence[str]) -> dict[Branch, str]:
    """Say in words what the labels of the Branch layer mean."""
    primary, secondary = modalities[:2]
    return {
        Branch.UNI_MODAL: f"uni-modal: {primary} alone",
        Branch.MULTI_MODAL: f"multi-modal: {primary} and {secondary}",
    }


def layer_tuples(maps: Maps, world: World) -> list[LayerDataTuple]:
    """Return the layers as (data, arguments, type), bottom one first."""
    from napari.utils.colormaps import DirectLabelColormap

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
    uncertainty = {
        "colormap": "viridis",
        "contrast_limits": (0.0, 1.0),
        "blending": "translucent_no_depth",
        "opacity": 0.7,
        "interpolation2d": "nearest",
        "visible": False,
        **coarse,
    }
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
    record = dict(maps.record)
    return [
        (
            array,
            {"name": name, **looks[name], "metadata": {RESULT_KEY: record, MAP: name}},
            "labels" if name == BRANCH else "image",
        )
        for name, array in maps.arrays().items()
    ]


class ResultLayers:
    """The layers of one job in a viewer; whoever removes one simply sees less.

    `plane` is added to their names, `store` is where the result is saved. napari takes a good part
    of a second for all layers, so `add_next` adds one at a time, and the screen lives in between.
    """

    def __init__(
        self, viewer: Any, maps: Maps, world: World, plane: str = "", store: Path | None = None
    ) -> None:
        self._viewer = viewer
        self._layers: dict[str, Layer] = {}
        self._plane, self._store = plane, store
        self._waiting = layer_tuples(maps, world)
        self._bottom = len(viewer.layers)

    @property
    def incomplete(self) -> bool:
        """Whether `add_next` has more to add."""
        return bool(self._waiting)

    def add_next(self) -> None:
        """Add the next layer, from the top down: the lowest is the answer, and ends up selected."""
        from napari.layers import Layer

        data, arguments, kind = self._waiting.pop()
        name = arguments["metadata"][MAP]
        arguments["name"] = f"{name} {self._plane}".rstrip()
        if self._store is not None:
            arguments["metadata"][STORE_PATH] = str(self._store)
        layer = _layers_of_store(self._viewer.layers, self._store).get(name)
        if layer is None:
            layer = Layer.create(data, arguments, kind)
            self._viewer.layers.insert(min(self._bottom, len(self._viewer.layers)), layer)
        else:
            layer.data, layer.metadata = data, arguments["metadata"]
        self._layers[name] = layer
        if name == BRANCH:
            layer.editable = False  # no painting into a result

    @property
    def present(self) -> list[Layer]:
        """The layers that are still in the viewer."""
        return [layer for layer in self._layers.values() if layer in self._viewer.layers]

    def refresh(self) -> None:
        """Show what the preview has by now, as cheaply as napari can."""
        for layer in self.present:
            layer.refresh(thumbnail=False, highlight=False, extent=False)

    def finish(self, maps: Maps) -> None:
        """Replace the live arrays by the final ones, and the record by the final one."""
        for name, final in maps.arrays().items():
            layer = self._layers.get(name)
            if layer is not None and layer in self._viewer.layers:
                layer.data = final
                layer.editable = layer.editable and name != BRANCH  # new data resets it
        self.stamp(maps.record)

    def stamp(self, record: Mapping[str, Any]) -> None:
        """Put a record into the layers' metadata and bring their thumbnails up to date."""
        for layer in self.present:
            layer.metadata = {**layer.metadata, RESULT_KEY: dict(record)}
            layer.refresh(highlight=False, extent=False)


def _layers_of_store(layers: Iterable[Layer], store: Path | None) -> dict[str, Layer]:
    """Return the layers that show a store, by which of its maps they show."""
    found: dict[str, Layer] = {}
    for layer in layers:
        path = layer.metadata.get(STORE_PATH) or layer.source.path
        if store is None or RESULT_KEY not in layer.metadata or path is None:
            continue
        if Path(path).absolute() == store:
            found.setdefault(layer.metadata.get(MAP, ""), layer)
    return found
