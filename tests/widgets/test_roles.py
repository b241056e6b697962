"""Which channels are offered for which role."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_damm.widgets.viewer.roles import channels_of, guess, roles_of, stain_colour

PRIMARY, SECONDARY, TARGET = roles_of(("vessels", "nuclei", "nanoparticles"))


def image(name: str, shape: tuple[int, ...] = (32, 40), **arguments) -> Image:
    return Image(np.zeros(shape, np.uint8), name=name, **arguments)


def guesses(*layers) -> list[str | None]:
    channels = channels_of(layers)
    found = guess(PRIMARY, [SECONDARY], channels), guess(SECONDARY, [PRIMARY], channels)
    return [channel and channel.label for channel in found]


def labels(*layers) -> list[str]:
    return [channel.label for channel in channels_of(layers)]


def test_a_plain_image_is_one_channel_under_its_own_name():
    assert labels(image("CD31")) == ["CD31"]


def test_a_multichannel_image_offers_each_channel():
    section = image("section", (3, 32, 40), axis_labels=("c", "y", "x"))
    assert labels(section) == [f"channel {c} · section" for c in range(3)]


@pytest.mark.parametrize("axis", [None, "stain", "plane"])
def test_an_axis_that_could_be_either_offers_the_stack_and_its_planes(axis):
    names = None if axis is None else (axis, "y", "x")
    section = image("section", (3, 32, 40), axis_labels=names)
    assert labels(section) == ["section", *(f"channel {c} · section" for c in range(3))]


@pytest.mark.parametrize("axis", [None, "c"])
def test_no_channel_of_a_layer_is_guessed_over_the_others(axis):
    names = None if axis is None else (axis, "y", "x")
    vessels = image("vessels", (4, 32, 40), axis_labels=names, colormap="green")
    assert guesses(vessels) == [None if axis else "vessels", None]


def test_axes_of_length_one_are_looked_through():
    channels = channels_of([image("section", (1, 2, 1, 32, 40))])
    assert [channel.index for channel in channels[1:]] == [(0, 0, 0), (0, 1, 0)]


def test_an_rgb_picture_offers_its_colours():
    assert labels(image("photo", (32, 40, 3), rgb=True)) == [
        "red · photo",
        "green · photo",
        "blue · photo",
    ]


def test_multiscale_images_count_by_their_finest_level():
    levels = [np.zeros((2, 64, 64)), np.zeros((2, 32, 32))]
    pyramid = Image(levels, name="slide", multiscale=True, axis_labels=("c", "y", "x"))
    assert labels(pyramid) == ["channel 0 · slide", "channel 1 · slide"]


def test_labels_and_results_are_no_inputs():
    result = image("NP distribution", metadata={"napari_damm": {}})
    assert labels(Labels(np.zeros((8, 8), int)), result) == []


@pytest.mark.parametrize(
    ("stack", "count"),
    [
        (image("long", (11, 32, 40)), 1),
        (image("deep", (4, 32, 40), axis_labels=("z", "y", "x")), 1),
        (image("both", (3, 4, 32, 40)), 1),
        (image("named", (5, 2, 32, 40), axis_labels=("z", "c", "y", "x")), 2),
        (image("movie", (5, 32, 40, 3), rgb=True), 3),
    ],
)
def test_a_stack_offers_its_channels_not_its_planes(stack, count):
    assert len(channels_of([stack])) == count


@pytest.mark.parametrize("name", ["vessels", "CD31 (AF488)", "PECAM-1"])
def test_vessels_are_guessed_by_name(name):
    assert guesses(image("other"), image(name)) == [name, None]


@pytest.mark.parametrize("name", ["nuclei", "DAPI", "Hoechst 33342"])
def test_nuclei_are_guessed_by_name(name):
    assert guesses(image(name), image("other")) == [None, name]


def test_colours_tell_where_names_do_not():
    layers = image("c1", colormap="green"), image("c2", colormap="bop blue")
    assert guesses(*layers) == ["c1", "c2"]


def test_a_name_outweighs_a_colour():
    assert guesses(image("dapi", colormap="green"), image("x", colormap="blue")) == [None, "dapi"]


def test_a_picture_named_after_both_stains_is_split_by_colour():
    assert guesses(image("cd31_ng2_dapi", (32, 40, 3), rgb=True)) == [
        "green · cd31_ng2_dapi",
        "blue · cd31_ng2_dapi",
    ]


def test_the_green_of_a_colour_picture_may_be_anything_and_its_blue_is_nuclei():
    assert guesses(image("03", (32, 40, 3), rgb=True)) == [None, "blue · 03"]


def test_what_was_opened_last_wins():
    assert guesses(image("vessels a"), image("vessels b")) == ["vessels b", None]


def test_the_card_of_another_model_gives_the_words():
    first, second, third = roles_of(("T1", "T2", "FLAIR"))
    channels = channels_of([image("scan T1"), image("scan T2")])
    assert guess(first, [second, third], channels).label == "scan T1"
    assert guess(second, [first, third], channels).label == "scan T2"


@pytest.mark.parametrize("name", ["nanoparticles", "QD 655", "target"])
def test_the_target_is_guessed_by_name(name):
    channels = channels_of([image("vessels"), image(name), image("nuclei")])
    found = guess(TARGET, [PRIMARY, SECONDARY], channels)
    assert found is not None
    assert found.label == name


def test_names_of_other_markers_that_hold_a_usual_one_are_no_guess():
    others = image("Galectin-3"), image("E-Selectin"), image("CD340"), image("Mononuclear cells")
    assert guesses(*others) == [None, None]
    assert guesses(image("Galectin-3"), image("CD31-488"), image("mononuclear")) == [
        "CD31-488",
        None,
    ]
    assert stain_colour("Galectin-3") == stain_colour("CD310") == "gray"
    assert stain_colour("tomato lectin") == "green"
