"""What a release is made of agrees: version, addresses, Pythons, dependencies, pinned actions."""

from __future__ import annotations

import importlib.util
import re
import shutil
import tomllib

import pytest
import yaml
from docs_blocks import ROOT
from packaging.requirements import Requirement

from napari_damm import __version__

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
REPOSITORY = PROJECT["urls"]["Source Code"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAMED = re.compile(r"https://(?:raw\.githubusercontent|github|[\w-]+\.github)\.(?:com|io)/[\w./-]+")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_citation_names_this_version_and_these_addresses():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    assert citation["repository-code"] == REPOSITORY
    assert citation["url"] == PROJECT["urls"]["Documentation"]
    assert citation["license"] == PROJECT["license"]


def test_everything_names_one_repository():
    path = REPOSITORY.removeprefix("https://github.com")
    owner = path.split("/")[1]
    pages = [ROOT / "README.md", ROOT / ".ci" / "zensical.toml", *(ROOT / ".github").rglob("*.*")]
    pages += [*(ROOT / "docs").glob("*.md"), ROOT / ".ci" / "conda" / "recipe.yaml"]
    for page in pages:
        for address in NAMED.findall(page.read_text("utf-8")):
            if "napari-damm" in address:
                assert f"{path}/" in f"{address}/" or address.startswith(
                    f"https://{owner}.github"
                ), f"{page} names {address}"


def test_classifiers_name_the_pythons_of_the_workflow():
    said = {
        each.rpartition(" ")[2]
        for each in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    }
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert said == set(ci["jobs"]["test"]["strategy"]["matrix"]["python"])
    assert PROJECT["requires-python"] == f">={min(said)}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_steps_are_targets(workflow):
    text = workflow.read_text("utf-8")
    for used in re.findall(r"uses: (\S+)", text):
        assert used.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, flags=re.M), f"make {target}"
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_the_recipe_needs_what_the_package_needs():
    recipe = yaml.safe_load((ROOT / ".ci" / "conda" / "recipe.yaml").read_text("utf-8"))
    renamed = {"torch": "pytorch", "matplotlib": "matplotlib-base", "dask": "dask-core"}
    wanted = {
        f"{renamed.get(each.name, each.name)} {each.specifier}".strip()
        for each in map(Requirement, PROJECT["dependencies"])
    }
    given = {each for each in recipe["requirements"]["run"] if not each.startswith("python ")}
    assert given == wanted
    assert recipe["context"]["version"] == __version__
    assert recipe["about"]["repository"] == REPOSITORY


def test_the_lock_is_of_these_dependencies_and_pins():
    """As `uv lock --check`, without a network; `make lock` mends it."""
    text = (ROOT / ".ci" / "constraints.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pinned = {str(Requirement(line)) for line in lines}
    said = PYPROJECT["tool"]["uv"]["constraint-dependencies"]
    assert {str(Requirement(each)) for each in said} == pinned
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    (own,) = (each for each in lock["package"] if each["name"] == PROJECT["name"])
    extras = PROJECT["optional-dependencies"]
    wanted = {_needed(each) for each in PROJECT["dependencies"]}
    wanted |= {_needed(each, extra) for extra, needs in extras.items() for each in needs}
    assert {_locked(each) for each in own["metadata"]["requires-dist"]} == wanted


def _needed(text, *extra):
    need = Requirement(text)
    return (need.name.lower(), str(need.specifier), *extra)


def _locked(entry):
    extra = re.findall(r"extra == '(\w+)'", entry.get("marker", ""))
    return _needed(entry["name"] + entry.get("specifier", ""), *extra)


def test_notes_are_the_section_of_the_changelog(tmp_path):
    notes = script("release_notes").notes
    for name in ("CITATION.cff", "src/napari_damm/util/version.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text(
        f"# Changelog\n\n## Unreleased\n\n## {__version__} - today\n\n- new\n\n## 0\n"
    )
    assert notes(f"v{__version__}", tmp_path) == "- new\n"
    with pytest.raises(ValueError, match=re.escape(f"must be v{__version__}")):
        notes("v9.9.9", tmp_path)
    changes.write_text("# Changelog\n\n## Unreleased\n\n- new\n")
    with pytest.raises(ValueError, match=f"section ## {__version__}"):
        notes(f"v{__version__}", tmp_path)


def test_forms_ask_for_the_record_and_the_version():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    assert {"record", "version"} <= {each.get("id") for each in form["body"]}


def test_hooks_before_a_commit_are_the_linters():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    lint = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    for hook in hooks["repos"][0]["hooks"]:
        tool = hook["entry"].split()[0].rpartition("/")[2]
        assert f"$(BIN)/{tool}" in lint
