"""Measures as people read them."""

from __future__ import annotations

import pytest

from napari_damm.util.measure import Measure

DOSE, EXPOSURE = Measure("dose per cell", "a.u.", 4), Measure("exposure", "a.u. um", 2)


@pytest.mark.parametrize(
    ("measure", "value", "text"),
    [
        (DOSE, 281.04, "281.0"),
        (DOSE, 0.0234, "0.023"),
        (DOSE, 0.00234, "0.00234"),
        (DOSE, 0.0, "0.000"),
        (DOSE, 2.8104e-5, "2.81e-05"),
        (DOSE, -2.8104e-5, "-2.81e-05"),
        (EXPOSURE, 0.31, "0.31"),
        (EXPOSURE, 0.0312, "0.0312"),
        (EXPOSURE, 23401800502121664.0, "2.34e+16"),
        (EXPOSURE, 6_553_500.0, "6553500"),
        (Measure("L50", "um", 1), 0.004, "0.0"),
    ],
)
def test_intensities_are_readable_on_whatever_scale_the_image_has(measure, value, text):
    assert measure.text(value) == text


def test_a_sign_and_what_is_missing_are_written():
    assert DOSE.text(2.8e-5, signed=True) == "+2.8e-05"
    assert DOSE.text(None) == "–"
