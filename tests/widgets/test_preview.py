"""A look at one window before hours are committed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_damm.util.tiling import Box, Lattice
from napari_damm.widgets.predict.preview import preview_box
from napari_damm.widgets.viewer.camera import camera_of
from napari_damm.widgets.viewer.roles import Channel


@pytest.mark.parametrize("side", [0.325, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.31, 0.77), (1.5, -3.0)])
def test_a_preview_takes_one_window(side, at):
    shape = (2000, 3000)
    layer = Image(np.zeros(shape, np.uint8), scale=(side, side), translate=(5, 7), units="um")
    centre = [5 + a * n * side for a, n in zip(at, shape, strict=True)]
    y0, x0, y1, x1 = (v * side for v in preview_box(Channel(layer), side, 1.0, centre))
    box = Box(*(round(v) for v in (y0, x0, y1, x1)))
    np.testing.assert_allclose((y0, x0, y1, x1), (box.y0, box.x0, box.y1, box.x1), atol=1e-6)
    lattice = Lattice((round(2000 * side), round(3000 * side)))
    assert len(lattice.windows_touching(box)) == 1


def test_a_preview_is_a_layer_that_makes_room_for_the_next(open_widget, fake_predict):
    driver = open_widget()
    camera_of(driver.viewer).center = (0, 448, 448)
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        driver.click("preview")
    assert [layer.name for layer in driver.viewer.layers] == ["vessels", "nuclei", "Preview"]
    y0, x0, y1, x1 = fake_predict.calls[0][2].roi
    assert abs((y0 + y1) / 2 - 448) <= 192  # half a stride of the model's pixels
    assert abs((x0 + x1) / 2 - 448) <= 192
    assert (y1 - y0, x1 - x0) == (256, 256)  # 128 of the model's pixels
    assert not driver.result.isVisible()
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        driver.click("preview")
    assert len(driver.viewer.layers) == 3
    driver.run()
    assert "NP distribution" in driver.viewer.layers
    assert fake_predict.calls[-1][2].roi is None
    assert len(fake_predict.calls[-1][2].focus) == 2


def test_a_preview_cannot_be_asked_for_without_images(open_widget):
    assert not open_widget(empty=True).preview.isEnabled()
