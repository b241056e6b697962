"""What the layers of a result say about themselves, and how they stand beside others."""

from __future__ import annotations

import numpy as np
import pytest

from napari_damm.widgets.viewer.result_maps import with_share


def shown(driver, kind: str) -> list[bool]:
    """Tell which maps of a kind are visible, the oldest first."""
    layers = driver.viewer.layers
    return [layer.visible for layer in layers if layer.metadata.get("napari_damm_map") == kind]


@pytest.mark.parametrize(
    ("name", "share", "said"),
    [
        ("Branch", 0.416, "Branch (partial, 41 %)"),
        ("Branch", 0.999, "Branch (partial, 99 %)"),
        ("my map z3 (partial, 41 %)", 0.5, "my map z3 (partial, 50 %)"),
        ("my map (partial, 41 %)", 1.0, "my map"),
        ("my map (partial)", 1.0, "my map (partial)"),
    ],
)
def test_a_name_says_how_much_is_there(name, share, said):
    assert with_share(name, share) == said


def test_a_second_map_of_the_same_place_hides_the_first(open_widget, fake_predict):
    driver = open_widget()
    driver.run()
    driver.viewer.layers["Uncertainty"].visible = True
    driver.run()
    assert shown(driver, "NP distribution") == [False, True]
    assert shown(driver, "Uncertainty") == [False, False]
    driver.run()
    assert shown(driver, "NP distribution") == [False, False, True]


def test_what_was_drawn_about_an_older_map_goes_with_it(open_widget, fake_predict):
    """Stripes of trust over another map would speak of the wrong one."""
    fake_predict.familiar = fake_predict.doubts = True
    predicted = open_widget()
    predicted.run()
    predicted.run()
    for name in ("difference", "place", "trust_map"):
        predicted.click(name)
    predicted.least_sure.setValue(predicted.least_sure.maximum())
    shows = {"difference", "Least sure place", "Less sure", "Trust"}

    def seen() -> set[str]:
        records = [
            layer.metadata.get("napari_damm", {}).get("shows")
            for layer in predicted.viewer.layers
            if layer.visible
        ]
        return shows & set(records)

    assert seen() == shows
    predicted.run()
    assert seen() == set()


def test_a_map_of_another_place_stays(open_widget, fake_predict):
    driver = open_widget()
    driver.run()
    fake_predict.origin = (2000.0, 0.0)
    driver.run()
    assert shown(driver, "NP distribution") == [True, True]


def test_what_merely_bears_the_name_is_not_hidden(open_widget, fake_predict):
    driver = open_widget()
    own = driver.viewer.add_image(np.zeros((896, 896), np.uint8), name="NP distribution")
    driver.run()
    assert own.visible


def test_a_run_that_fails_leaves_maps_that_say_so(open_widget, fake_predict):
    fake_predict.pause_after, fake_predict.error = 3, OSError("disk is full")
    fake_predict.resume.set()
    driver = open_widget()
    driver.run()
    names = [layer.name for layer in driver.viewer.layers if "napari_damm" in layer.metadata]
    assert names == [f"{n} (partial, 75 %)" for n in ("NP distribution", "Uncertainty", "Branch")]


def test_layers_are_locked_while_they_fill_and_free_afterwards(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    layers = [driver.viewer.layers[name] for name in ("NP distribution", "Uncertainty", "Branch")]
    assert not any(layer.editable for layer in layers)
    lockable = hasattr(layers[0], "locked")  # since napari 0.9
    assert not lockable or all(layer.locked for layer in layers)
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert [layer.editable for layer in layers] == [True, True, False]
    assert not lockable or not any(layer.locked for layer in layers)


def test_a_colour_bar_stands_beside_the_map(open_widget, fake_predict):
    driver = open_widget()
    driver.run()
    bar = getattr(driver.viewer.layers["NP distribution"], "colorbar", None)
    assert bar is None or bar.visible


def test_only_doubt_is_tinted(open_widget, fake_predict):
    driver = open_widget()
    driver.run()
    colours = driver.viewer.layers["Uncertainty"].colormap.map(np.array([0.0, 1.0]))
    np.testing.assert_allclose(colours[:, 3], [0, 1])
