"""The preview of a large section: around the middle of the view, on pixels that show vessels."""

from __future__ import annotations

import re

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_damm.widgets.analyze.preview import MASK_LAYER
from napari_damm.widgets.viewer.camera import camera_of

SHAPE = (1300, 2600)
WIDE, APART = 4, 50
PLACE = {"scale": (1.0, 1.0), "units": "um"}


def striped():
    """Vessels 4 um wide, one in 50 um: on wider pixels there are more of them, or none."""
    rows = np.arange(SHAPE[0])[:, None] % APART
    vessels = np.broadcast_to(rows < WIDE, SHAPE).astype(np.float32)
    distance = np.clip(np.minimum(rows - WIDE + 0.5, APART - 0.5 - rows), 0, None)
    signal = np.broadcast_to(np.exp(-distance / 10), SHAPE).astype(np.float32)
    return vessels, signal


@pytest.fixture(scope="module")
def images():
    return striped()


def opened(open_analysis, images, **place):
    viewer = ViewerModel()
    for name, image in zip(("vessels", "nanoparticles"), images, strict=True):
        lazy = da.from_array(image, chunks=(512, 512))
        viewer.add_image(lazy, name=name, contrast_limits=(0, 1), **(PLACE | place))
    return viewer, open_analysis(viewer)


def test_what_is_shown_of_a_large_section_is_as_it_will_be_measured(open_analysis, images):
    viewer, driver = opened(open_analysis, images)
    camera_of(viewer).center = (0, 650, 2500)
    driver.click("preview")
    said = driver.threshold_note.text()
    share = re.search(r"([\d.]+) % of the part around the view's middle", said)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * WIDE / APART, abs=1.5)
    mask = viewer.layers[MASK_LAYER]
    low, high = mask.extent.world[:, -2:]
    np.testing.assert_allclose([*low, *high], [50, 1400, 1250, 2600], atol=3)
    at = np.round(mask.world_to_data((650 + APART // 2, 2000))).astype(int)
    assert mask.data[at[0], at[1]] == 0
    at = np.round(mask.world_to_data((650 + 1, 2000))).astype(int)
    assert mask.data[at[0], at[1]] == 1


def test_where_an_image_does_not_reach_it_is_told(open_analysis, images):
    viewer, driver = opened(open_analysis, images)
    viewer.layers["vessels"].data = viewer.layers["vessels"].data[:, :900]
    camera_of(viewer).center = (0, 650, 2500)
    driver.click("preview")
    assert driver.status.text() == (
        "'vessels' does not reach to the middle of the view: move the view"
    )
    assert MASK_LAYER not in viewer.layers


def test_of_a_pyramid_a_level_that_still_shows_vessels_is_read(open_analysis, images):
    vessels, signal = images
    read = []

    class Level(np.ndarray):
        def __getitem__(self, key):
            read.append(self.shape)
            return super().__getitem__(key)

    viewer = ViewerModel()
    for name, image in (("vessels", vessels), ("nanoparticles", signal)):
        levels = [image[:: 2**k, :: 2**k].view(Level) for k in range(3)]
        viewer.add_image(levels, name=name, multiscale=True, scale=(0.5, 0.5), units="um",
                         contrast_limits=(0, 1))  # fmt: skip
    driver = open_analysis(viewer)
    camera_of(viewer).center = (0, 300, 600)
    read.clear()
    driver.click("preview")
    assert "around the view's middle" in driver.threshold_note.text()
    assert (650, 1300) in read
    assert SHAPE not in read
