"""JSON from elsewhere is read as `json` reads it, or refused for a reason in words."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_damm.util.bounded_json import DEEPEST, parse_json, read_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(PLAIN)
def test_what_json_writes_of_plain_values_comes_back(value):
    try:
        text = json.dumps(value)
        text.encode()
    except UnicodeEncodeError:
        return
    assert parse_json(text) == value == parse_json(text.encode())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("NaN", "the number NaN"),
        ('{"a": [-Infinity]}', "the number -Infinity"),
        ("1e999", "the number 1e999"),
        ("9" * 400, "of 400 digits"),
        ("-" + "9" * 5000, "of 5001 digits"),
        (str(2**64), "digits"),
        ('{"a": 1, "b": 2, "a": 3}', "entry 'a' twice"),
        ('{"x": {"\\ud800": 1}}', "text that is none"),
        ('["\\udfff"]', "text that is none"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "deeper than"),
        ("[" * 100_000 + "]" * 100_000, "deeper than"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "deeper than"),
    ],
)
def test_what_leaves_the_bounds_is_refused_for_a_reason(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_length_is_bounded_before_anything_is_parsed():
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        parse_json(b"[" * 11, 10)


def test_a_file_is_named_with_what_is_wrong_with_it(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("[NaN]")
    with pytest.raises(ValueError, match=r"run\.json is unusable: it holds the number NaN"):
        read_json(path)
    path.write_text('{"a": [1.5, "x", null]}')
    assert read_json(path) == {"a": [1.5, "x", None]}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: p.symlink_to("/dev/zero")])
def test_what_is_no_file_is_an_error_not_a_wait(tmp_path, make):
    make(tmp_path / "run.json")
    with pytest.raises(OSError, match=r"run\.json"):
        read_json(tmp_path / "run.json")
