"""The page that a collaborator opens: one table of all sections, what each measure is, groups."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib.colors
import pytest
from particle_maps import measured, straight_vessel

from napari_damm.analysis import page_tables
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.definitions import DEFINITIONS
from napari_damm.analysis.figures import _plain, draw_profiles
from napari_damm.analysis.groups import compare_groups
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.methods import methods_paragraph
from napari_damm.analysis.page import page
from napari_damm.cli.analyze import summary

GROUPS = ("control", "treated")


@pytest.fixture(scope="module")
def one():
    signal, vessels = straight_vessel(shape=(200, 300))
    halfway = AnalyzeConfig(vessel_threshold=0.5)
    return measured({"particles": signal, "vessels": vessels}, config=halfway)[0]


def of_animals(one, count, test="mann-whitney"):
    """Return a report of so many sections, each of an animal of its own, in two groups."""
    sections, rows, profiles = [], [], []
    for k in range(count):
        name, group = f"m{k}<1>", GROUPS[k % 2]
        sections.append(replace(one.sections[0], name=name))
        rows += [replace(row, section=name, animal=f"a{k}", group=group,
                         value=None if row.value is None else row.value + k)
                 for row in one.rows]  # fmt: skip
        profiles += [replace(row, section=name) for row in one.profiles]
    return replace(one, sections=tuple(sections), rows=tuple(rows), profiles=tuple(profiles),
                   comparisons=tuple(compare_groups(rows, test)))  # fmt: skip


def lines_of(table):
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in table.split("<tr>")[1:]]


def test_every_measure_is_defined():
    assert list(DEFINITIONS) == list(MEASURES)


def test_the_page_says_what_its_measures_are(one):
    shown = page(one, [])
    assert "<td>vessel area</td><td>share of the tissue that is vessel</td>" in shown
    assert DEFINITIONS["perfused_fraction"] not in shown  # nobody has it here


@pytest.mark.parametrize("count", [page_tables.MOST_COLUMNS, page_tables.MOST_COLUMNS + 1])
def test_one_table_holds_all_sections(one, count):
    lines = lines_of(page_tables.overview(of_animals(one, count)))
    if count > page_tables.MOST_COLUMNS:
        lines = list(zip(*lines, strict=True))
    heads = [line[0] for line in lines]
    assert heads[:4] == ["section", "animal", "group", "half-distance L50 (µm)"]
    assert list(lines[0][1:3]) == ["m0&lt;1&gt;", "m1&lt;1&gt;"]
    assert all(len(line) == count + 1 for line in lines)
    assert not any("periphery" in head for head in heads)
    area = next(line for line in lines if line[0] == "vessel area (%)")
    assert [float(each) for each in area[1:]] == pytest.approx([5.5 + k for k in range(count)])


def test_a_section_folds_out_with_its_reasons(one):
    shown = page(of_animals(one, 2), [])
    assert shown.count("<details>") == 2
    assert shown.count("– the tissue fills the picture") == 2
    assert "<details>" not in page(one, [])


def test_what_all_comparisons_share_is_said_once(one):
    report = of_animals(one, 6)
    shown = page_tables.comparisons(report)
    assert shown.count("Mann-Whitney U test") == 1
    assert "difference control − treated (95 % interval)" in shown
    assert "<th>region</th>" not in shown
    assert "p of a Mann-Whitney test cannot be below 0.1" in shown
    assert page(report, []).count("cannot be below 0.1") == 1
    area = next(line for line in lines_of(shown) if line[0] == "vessel area (%)")
    assert area[1:3] == ["3,&nbsp;3", "7.50,&nbsp;8.50"]
    assert area[4] == "-0.40 (-1.68 to 0.93)"


def test_what_they_do_not_share_is_in_every_line(one):
    report = of_animals(one, 3)  # one animal of the second group
    again = [replace(each, region="rim", group_b="other", reason="why not")
             for each in report.comparisons]  # fmt: skip
    shown = page_tables.comparisons(replace(report, comparisons=(*report.comparisons, *again)))
    assert {"region", "groups a − b", "test"} <= set(lines_of(shown)[0])
    assert "difference a − b" in shown


def test_the_command_prints_intervals_of_differences(one):
    printed = [line for line in summary(of_animals(one, 6)) if "minus" in line]
    assert "control minus treated -1.00 (95 % -5.53 to 3.53), n = 3, 3" in printed[3]


def test_sections_of_a_group_have_one_colour(one):
    axes = draw_profiles(of_animals(one, 4)).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    colours = [matplotlib.colors.to_hex(line.get_color()) for line in lines]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(GROUPS)


def test_numbers_of_a_colour_bar_are_plain():
    assert [_plain(value) for value in (1019.4, 34130.0, 0.25, 0.0)] == [
        "1019",
        "34130",
        "0.25",
        "0",
    ]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(1.0, 1.0)] * 3, "in 3 sections at 1 um per pixel"),
        ([(0.69, 0.69), (0.5, 1.3)], "in 2 sections at 0.5 x 1.3 or 0.69 um per pixel"),
        ([(0.5 + k / 4, 0.5 + k / 4) for k in range(5)], "at 0.5 to 1.5 um per pixel"),
    ],
)
def test_the_methods_name_every_pixel_size(one, sizes, said):
    sections = tuple(replace(one.sections[0], pixel_um=each) for each in sizes)
    assert said in methods_paragraph(replace(one, sections=sections))
