"""A predicted map that was saved as OME-TIFF stays one: no picture to predict or learn from."""

from __future__ import annotations

import numpy as np
import pytest
from driver import LAYERS
from evaluations import section_file
from napari.layers import Image, Layer
from particle_maps import straight_vessel

from napari_damm.dataset import SlideSource, open_sections
from napari_damm.slide import open_slide
from napari_damm.widgets.viewer.reader import get_reader
from napari_damm.widgets.viewer.writer import write_tiff


def saved(path, layer):
    data, attributes, _ = layer.as_layer_data_tuple()
    write_tiff(str(path), data, attributes)
    return path


def reopened(path):
    ((data, arguments, kind),) = get_reader(str(path))(str(path))
    return Layer.create(data, arguments, kind)


@pytest.mark.parametrize("name", LAYERS)
def test_it_is_no_picture_of_a_section(predicted, tmp_path, name):
    path = saved(tmp_path / "map.ome.tif", predicted.viewer.layers[name])
    picture = section_file(tmp_path / "a.ome.tif")
    said = r"map\.ome\.tif is a predicted map, no picture of a section: give the image that was"
    with pytest.raises(ValueError, match=said):
        list(open_sections(SlideSource(picture, target=path)))  # it would judge, or learn, itself
    with pytest.raises(ValueError, match=said):
        open_slide(picture, path)
    with pytest.raises(ValueError, match=said):
        open_slide(path)


def test_any_other_layer_is_saved_as_a_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 99, (256, 256), np.uint16)
    layer = Image(pixels, name="vessels", scale=(1, 1), units="um")
    path = saved(tmp_path / "vessels.ome.tif", layer)
    assert not reopened(path).metadata
    slide = open_slide(path, saved(tmp_path / "n.ome.tif", layer), nuclei_channel=0)
    assert slide.shape == (256, 256)


def test_opened_in_napari_it_is_offered_as_a_map_and_not_as_a_stain(
    predicted, open_trainer, tmp_path
):
    path = saved(tmp_path / "np.ome.tif", predicted.viewer.layers["NP distribution"])
    trainer = open_trainer(empty=True)
    trainer.add_images("vessels", "nuclei")
    trainer.viewer.add_layer(reopened(path))
    offered = [trainer.target.itemText(row) for row in range(trainer.target.count())]
    assert "nuclei" in offered
    assert "NP distribution" not in offered


def test_the_result_box_bears_one_beside_its_run(predicted, tmp_path):
    path = saved(tmp_path / "np.ome.tif", predicted.viewer.layers["NP distribution"])
    layer = predicted.viewer.add_layer(reopened(path))
    predicted.viewer.layers.selection.active = layer
    assert layer.metadata["napari_damm"] == {
        "mode": "draft",
        "model": {"name": "tiny"},
        "finished": "when it was saved",
    }
    np.testing.assert_allclose(
        layer.translate, predicted.viewer.layers["NP distribution"].translate
    )
    assert predicted.run().startswith("Done in")


@pytest.mark.parametrize("part", ["", " (partial, 41 %)"])
def test_it_is_measured_as_a_predicted_map_if_it_is_whole(open_trainer, open_analysis, tmp_path,
                                                         part):  # fmt: skip
    signal, vessels = straight_vessel(shape=(300, 300))
    record = {"mode": "expected", "model": {"name": "tiny"}}
    place = {"scale": (1.0, 1.0), "units": "um"}
    name = f"NP distribution{part}"
    layer = Image(signal, name=name, metadata={"napari_damm": record}, **place)
    viewer = open_trainer(empty=True).viewer
    viewer.add_image(vessels, name="vessels", **place)
    viewer.add_layer(reopened(saved(tmp_path / "np.ome.tif", layer)))
    analysis = open_analysis(viewer)
    assert analysis.particles.currentText() == name
    if part:
        assert "is not finished" in analysis.reason.text()
        return
    assert analysis.run("analyze").startswith("Done in")
    assert analysis.widget.report.sections[0].predicted
