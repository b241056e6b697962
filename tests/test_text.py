"""Numbers and foreign text, written for people."""

from __future__ import annotations

import pytest

from napari_damm.util.text import (
    clock,
    count,
    duration,
    gigabytes,
    name_or_index,
    printable,
    with_micro,
    without_long_words,
)


def test_things_are_counted_in_words():
    assert [count(n, "section") for n in (0, 1, 2)] == ["0 sections", "1 section", "2 sections"]
    assert [count(n, "patch", "patches") for n in (1, 2)] == ["1 patch", "2 patches"]


@pytest.mark.parametrize(("size", "words"), [(1, "1 MB"), (2e7, "20 MB"), (1.44e9, "1.4 GB")])
def test_bytes_are_written_for_people(size, words):
    assert gigabytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "about", "exactly"),
    [
        (0.2, "1 s", "0:00"),
        (40, "40 s", "0:40"),
        (720, "12 min", "12:00"),
        (7500, "2 h 5 min", "2:05:00"),
    ],
)
def test_times_are_written_for_people(seconds, about, exactly):
    assert duration(seconds) == about
    assert clock(seconds) == exactly


def test_nothing_that_a_terminal_obeys_is_left():
    odd = "a\x1b[31m\x9b2J\u202eb\u2066\n\t\r\udcff"
    shown = printable(odd)
    assert shown == r"a\x1b[31m\x9b2J\u202eb\u2066\n\t\r\udcff"
    assert shown.isprintable()
    assert printable(odd, allowed="\n\t").count("\n") == 1
    assert printable("Größe µm 中 👩‍🔬") == "Größe µm 中 👩‍🔬"


def test_long_words_lose_their_middle_and_others_nothing():
    assert without_long_words("as it was") == "as it was"
    short = without_long_words(f"no {'9' * 5000}!")
    assert len(short) < 210
    assert short.startswith("no 999")
    assert short.endswith("9!")


def test_digits_are_a_number_and_anything_else_is_a_name():
    entered = ["2", "CD31", "-1", "", None, "9" * 5000]
    assert [name_or_index(each) for each in entered] == [2, "CD31", "-1", "", None, "9" * 5000]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("pixels of 0.5 um, 2 um2 and 3 mm2", "pixels of 0.5 µm, 2 µm² and 3 mm²"),
        ("AUC(0-100 um) in a.u. um: 2um", "AUC(0-100 µm) in a.u. µm: 2µm"),
        ("a length in um. Or (um): um", "a length in µm. Or (µm): µm"),
        ("1 um/px, 1/mm2", "1 µm/px, 1/mm²"),
        ("the maximum of the vacuum: ummed", "the maximum of the vacuum: ummed"),
        ('type layer.units = ("um", "um")', 'type layer.units = ("um", "um")'),
        (
            "/data/0.5 um/a_um.tif, 2 um.tif and um-scale.tif",
            "/data/0.5 um/a_um.tif, 2 um.tif and um-scale.tif",
        ),
        ("distance_um", "distance_um"),
    ],
)
def test_units_are_written_as_a_screen_can_show_them(said, shown):
    assert with_micro(said) == shown
