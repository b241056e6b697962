"""Pages say what is true: commands exist, code runs, links lead somewhere, settings are fresh."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import tomllib

import click
import pytest
import typer
import yaml
from docs_blocks import (
    DOCS,
    PAGES,
    ROOT,
    all_blocks,
    anchors,
    blocks,
    commands,
    links,
    not_printed,
)

import napari_damm
from napari_damm.cli.commands import app
from napari_damm.train.settings_file import read_settings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
URLS = PROJECT["project"]["urls"]
COMMANDS = [
    pytest.param(words, id=f"{block}: {' '.join(words)[:60]}")
    for block in all_blocks("sh")
    for words in commands(block)
]
PYTHON = [pytest.param(block, id=str(block)) for block in all_blocks("python")]
LANGUAGES = {"csv", "json", "python", "sh", "text", "toml", "yaml"}
# Others' programs, whose options are theirs.
FOREIGN = {"bioimageio", "git", "napari", "omero", "openssl"}


def test_every_block_says_its_language():
    assert {each.language for each in all_blocks()} <= LANGUAGES


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_exists_with_its_options(words):
    program, *arguments = words
    checks = {"napari-damm": our_command, "make": target, "python": script, "pip": packages}
    if program == "dask":
        dask_command(arguments)
    elif program not in FOREIGN:
        checks[program](arguments)


def our_command(arguments):
    if arguments == ["--version"]:
        return
    command, names = typer.main.get_command(app), []
    while hasattr(command, "commands"):
        names.append(arguments[0])
        command, arguments = command.commands[arguments[0]], arguments[1:]
    context = command.make_context(" ".join(names), list(arguments))
    for option in command.params:
        allowed = (option.metavar or "").split("|")
        value = context.params.get(option.name)
        given = value if isinstance(value, tuple | list) else [value]  # some may be repeated
        for each in given if len(allowed) > 1 and allowed[0].islower() else ():
            assert each is None or each in allowed, f"{option.opts[0]} {each}"


def target(arguments):
    makefile = (ROOT / "Makefile").read_text()
    for name in (each for each in arguments if "=" not in each):
        assert re.search(rf"^{name}:", makefile, flags=re.M), f"make {name}"


def script(arguments):
    if arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
        return
    code = (ROOT / arguments[0]).read_text("utf-8")
    for option in (each for each in arguments if each.startswith("--")):
        assert f'"{option}"' in code or shared_option(option), f"{arguments[0]} has no {option}"


def shared_option(option):
    """Whether an option is defined where several benchmarks take theirs from."""
    helpers = [*(ROOT / "tests" / "benchmarks").glob("*.py"), *(ROOT / "tests").glob("*.py")]
    return any(f'"{option}"' in each.read_text("utf-8") for each in helpers)


def packages(arguments):
    assert arguments[0] == "install"
    extras = {*PROJECT["project"]["optional-dependencies"], *PROJECT["dependency-groups"]}
    for wanted in re.findall(r"(?:\.|napari-damm)\[([\w,]+)\]", " ".join(arguments)):
        assert set(wanted.split(",")) <= extras, wanted


def dask_command(arguments):
    pytest.importorskip("distributed")
    from distributed.cli.dask_scheduler import main as scheduler
    from distributed.cli.dask_worker import main as worker

    name, *options = arguments
    command = {"scheduler": scheduler, "worker": worker}[name]
    assert isinstance(command, click.Command)
    command.make_context(name, options)


@pytest.mark.parametrize("block", PYTHON)
def test_code_uses_names_and_arguments_that_exist(block):
    tree = ast.parse(block.code)
    ours = {"napari_damm": napari_damm}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_damm"):
            module = importlib.import_module(node.module)
            ours |= {each.asname or each.name: getattr(module, each.name) for each in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = resolved(node.func, ours)
        if called is not None and all(each.arg for each in node.keywords):
            given = {each.arg: None for each in node.keywords}
            inspect.signature(called).bind(*node.args, **given)


def resolved(node, ours):
    """Return our object that an expression such as `napari_damm.predict` names, else None."""
    if isinstance(node, ast.Name):
        return ours.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, ours)
        return None if owner is None else getattr(owner, node.attr)
    return None


def test_settings_files_are_read(tmp_path):
    for block in all_blocks("toml"):
        file = tmp_path / "settings.toml"
        file.write_text(block.code)
        assert read_settings(file).sources


def test_yaml_is_yaml():
    for block in all_blocks("yaml"):
        assert yaml.safe_load(block.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    source, raw = f"{URLS['Source Code']}/blob/main/", raw_address()
    for link in links(page):
        path, _, anchor = link.partition("#")
        if path.startswith((source, raw)):
            there = ROOT / path.removeprefix(source).removeprefix(raw)
        elif re.match(r"https?:|mailto:", path):
            continue
        else:
            there = page.parent / path if path else page
        assert there.exists(), link
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), link


def test_the_readme_has_no_relative_links_which_neither_hub_nor_index_would_follow():
    assert not [link for link in links(ROOT / "README.md") if not link.startswith("https://")]


def test_every_page_has_its_place_on_the_site():
    site = tomllib.loads((ROOT / ".ci" / "zensical.toml").read_text("utf-8"))["project"]
    listed = [
        page if isinstance(page, str) else next(iter(page.values()))
        for part in site["nav"]
        for pages in part.values()
        for page in pages
    ]
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md"))
    assert site["repo_url"] == URLS["Source Code"]
    assert site["site_url"].rstrip("/") == URLS["Documentation"]


def test_the_page_of_settings_is_fresh():
    spec = importlib.util.spec_from_file_location("page", ROOT / ".ci" / "settings_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.PAGE.read_text("utf-8"), "run make settings"


def test_every_public_name_is_on_the_page_of_python():
    listed = set(
        re.findall(r"^::: napari_damm\.(\w+)$", (DOCS / "python-api.md").read_text(), re.M)
    )
    configs = {name for name in napari_damm.__all__ if name.endswith("Config")}
    assert listed - {"events"} == set(napari_damm.__all__) - configs - {"__version__"}


def test_quickstart_commands_are_in_the_order_in_which_they_are_run():
    assert len(blocks(DOCS / "quickstart.md", "sh")) == 8


def test_what_a_page_shows_is_compared_with_what_is_printed():
    printed = "map     4 x 4 px\nwindows 1\ntime    2.0 s\n"
    assert not_printed("map     4 x 4 px\ntime    3.1 s\n", printed) == []
    assert not_printed("map     5 x 5 px\nwindows 1\n", printed) == ["map     5 x 5 px"]


def raw_address():
    repository = URLS["Source Code"].removeprefix("https://github.com/")
    return f"https://raw.githubusercontent.com/{repository}/main/"
