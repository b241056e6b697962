"""Maps of which everything is known, to measure."""

import numpy as np
import tifffile

from napari_damm.analysis import run
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.sources import MapLayers, array_map
from napari_damm.events import Finished, Notice


def straight_vessel(shape=(600, 700), rows=(95, 106), length_um=20.0, pixel_um=1.0):
    """A horizontal vessel over the whole width, and signal exp(-d / L) on both sides of it."""
    y = np.arange(shape[0])[:, None]
    vessels = np.zeros(shape, np.float32)
    vessels[rows[0] : rows[1]] = 1.0
    above, below = rows[0] - y - 0.5, y - (rows[1] - 1) - 0.5
    distance = np.maximum(np.maximum(above, below), 0.0) * pixel_um
    signal = np.broadcast_to(np.exp(-distance / length_um), shape).astype(np.float32)
    return signal, vessels


def measured(images, pixel_um=1.0, config=None, regions=(), **given):
    """Return the report of one map of images, and the warnings on the way."""
    layers = MapLayers(array_map(images, pixel_um, **given), tuple(regions))
    return report_of(layers, config)


def report_of(data, config=None, **given):
    """Return the report of an analysis, and its warnings."""
    events = list(run.analyze(data, config or AnalyzeConfig(), **given))
    assert isinstance(events[-1], Finished)
    warnings = [event.message for event in events if isinstance(event, Notice)]
    return events[-1].result, warnings


NAMES = ["cd31", "dapi", "nanoparticles"]


def write_picture(path, planes, names=NAMES, um=1.0):
    size = {} if um is None else {
        "PhysicalSizeX": um, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": um,
        "PhysicalSizeYUnit": "µm",
    }  # fmt: skip
    metadata = {"axes": "CYX", "Channel": {"Name": list(names)}, **size}
    tifffile.imwrite(path, np.stack(planes), ome=True, metadata=metadata, photometric="minisblack")
    return path


def nuclei():
    """Nuclei all over the picture: all of it is tissue."""
    return np.kron(np.ones((30, 35)), np.pad(np.ones((8, 8)), 6)).astype(np.float32)
