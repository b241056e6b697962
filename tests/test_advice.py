"""Advice: one sentence about a fault, in the words of whoever shows it."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import napari_damm
from napari_damm.cli.option_names import in_options, option_name
from napari_damm.util.advice import Advice, advice_of, in_words
from napari_damm.util.errors import one_line
from napari_damm.widgets.control_names import control_name

PACKAGE = Path(napari_damm.__file__).parent
DASHED = "--"  # a line style of matplotlib
COMMENT = "<!--"  # of XML
COMMANDS = PACKAGE / "engine" / "reproduction.py"
"""What it writes is a command line."""
OPTION = re.compile(r"(?<![\w-])--(?=[a-z{]|$)")

SIZE = Advice("a.tif has no pixel size", "give {pixel_size_um}, or leave {store}")


def test_it_reads_as_python_says_it():
    assert SIZE == "a.tif has no pixel size: give pixel_size_um, or leave store"
    assert str(ValueError(SIZE)) == SIZE


def test_each_front_end_puts_it_into_its_own_words():
    assert in_options(SIZE) == "a.tif has no pixel size: give --pixel-size UM, or leave --out"
    assert in_words(SIZE, control_name) == (
        "a.tif has no pixel size: give the pixel size, or leave place to save to"
    )
    stack = Advice("a.tif has 3 z planes", "choose one with {z}")
    assert in_options(stack) == "a.tif has 3 z planes: choose one with --z N"
    assert in_words(stack, control_name) == (
        "a.tif has 3 z planes: choose one with napari's slider, after opening it as layers"
    )
    assert in_options("a plain text with {braces}") == "a plain text with {braces}"


def test_it_knows_what_is_wrong_with_which_parameter_and_what_to_do():
    advice = Advice("must be 1 or more, got 0", "leave it out or {resume}", parameter="batch_size")
    assert advice.problem == "must be 1 or more, got 0"
    assert advice.parameter == "batch_size"
    assert advice.remedy == "leave it out or {resume}"
    assert advice.parameters == ("batch_size", "resume")
    assert advice == "batch_size must be 1 or more, got 0: leave it out or resume=True"
    assert in_options(advice) == ("--batch-size must be 1 or more, got 0: leave it out or --resume")


def test_braces_in_paths_and_names_are_not_parameters():
    advice = Advice("{store}.tif is odd", "give {nuclei}, one of {names}", names="{resume}, {")
    assert advice == "{store}.tif is odd: give nuclei, one of {resume}, {"
    assert advice.parameters == ("nuclei",)
    assert advice.said_with(option_name) == (
        "{store}.tif is odd: give --nuclei FILE, one of {resume}, {"
    )


@pytest.mark.parametrize("error", [ValueError(SIZE), FileExistsError(SIZE), MemoryError(SIZE)])
def test_an_error_carries_it_to_another_process(error):
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is type(error)
    assert advice_of(sent) == SIZE
    assert advice_of(sent).parameters == ("pixel_size_um", "store")
    assert advice_of(ValueError("plain")) is None
    assert in_options(one_line(sent)) == in_options(SIZE)


def _texts(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [(node.lineno, node.value) for node in constants if isinstance(node.value, str)]
    return sorted(each for each in texts if each[1] != "--")  # a dashed line of a plot


def test_no_module_but_the_command_line_speaks_of_options():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "cli" and path != COMMANDS
        for line, text in _texts(path)
        if OPTION.search(text) and text not in (DASHED, COMMENT)
    ]
    assert not found


def test_what_speaks_of_options_would_be_found(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('''"""Use --out."""\nf"leave out --{axis}"\n"a-- b"\n"x: --resume (y)"\n''')
    assert sorted(line for line, text in _texts(module) if OPTION.search(text)) == [1, 2, 4]
