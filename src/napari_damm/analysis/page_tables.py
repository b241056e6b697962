"""The tables of a report's page: sections, their regions, groups, and what each measure is.

1. Of several sections one table holds all of them; the table of a section, with its regions and
   the reasons why numbers are missing, folds out below.
2. What is the same in every line (a test, a region, two groups) is said once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import TypeVar

from napari_damm.analysis.cautions import TRUSTED_IS, UNREAD
from napari_damm.analysis.definitions import DEFINITIONS
from napari_damm.analysis.groups import Comparison, least_p_notes
from napari_damm.analysis.measures import MEASURES, NOT_GIVEN
from napari_damm.analysis.regions import TISSUE
from napari_damm.analysis.report import AnalysisReport, MeasureRow

T = TypeVar("T")
MOST_COLUMNS = 6
UNITS = {"um": "µm", "um2": "µm²", "mm2": "mm²"}


def measures(report: AnalysisReport) -> Iterator[str]:
    """Yield the measures of every section."""
    if len(report.sections) == 1:
        yield of_section(report, report.sections[0].name)
        return
    yield overview(report)
    for facts in report.sections:
        said = f"{escape(facts.name)}: all its numbers, and why some are missing"
        yield f"<details><summary>{said}</summary>{of_section(report, facts.name)}</details>"


def overview(report: AnalysisReport) -> str:
    """Return all tissue of every section, and each measure that any has.

    Few sections are columns; many are lines, and who reads all their measures scrolls.
    """
    rows = [row for row in report.rows if row.region == TISSUE]
    cells = {(row.section, row.measure): row for row in rows}
    given = {row.measure for row in rows if row.value is not None}
    shown = [name for name in MEASURES if name in given]
    whose = {row.section: row for row in rows}
    sections = [escape(section) for section in whose]
    columns = {"section": sections}
    if any(row.group for row in rows):
        columns["animal"] = [escape(row.animal) for row in whose.values()]
        columns["group"] = [escape(row.group) for row in whose.values()]
    for name in shown:
        columns[_um(MEASURES[name].title)] = [_value(cells[section, name]) for section in whose]
    if len(sections) > MOST_COLUMNS:
        found = table(list(columns), list(zip(*columns.values(), strict=True)))
    else:
        head, *lines = ([name, *values] for name, values in columns.items())
        found = table(head, lines)
    none = [_um(MEASURES[name].label) for name in MEASURES if name not in given]
    said = f'<p class="small">In no section: {", ".join(none)}.</p>' if none else ""
    return f'<div class="wide">{found}</div>{said}'


def of_section(report: AnalysisReport, section: str) -> str:
    """Return a row for each measure of a section, a column for each region."""
    rows = [row for row in report.rows if row.section == section]
    regions = list(dict.fromkeys(row.region for row in rows))
    cells = {(row.measure, row.region): row for row in rows}
    shares = {row.region: row.trusted_share for row in rows}
    head = [escape(section), "unit", *(escape(region) for region in regions)]
    lines = [
        [_um(measure.label), _um(measure.unit), *(_cell(cells[name, r]) for r in regions)]
        for name, measure in MEASURES.items()
    ]
    said = ""
    if any(share is not None for share in shares.values()):
        percents = ["–" if s is None else f"{100 * s:.0f}" for s in shares.values()]
        lines.append(["share of it that is trusted", "%", *percents])
        said = f'<p class="small">{escape(TRUSTED_IS)}</p>'
    return f'<div class="wide">{table(head, lines)}</div>{said}'


def _cell(row: MeasureRow) -> str:
    if row.value is None:
        return f'<span class="small" title="{escape(row.reason)}">– {escape(row.reason)}</span>'
    return _value(row)


def _value(row: MeasureRow) -> str:
    """Return a value with its interval, and whether it is to be read; why it is missing, hidden."""
    if row.value is None:
        return f'<span title="{escape(row.reason)}">–</span>'
    text = MEASURES[row.measure].text(row.value)
    if row.low is not None and row.high is not None:
        low, high = (MEASURES[row.measure].text(v) for v in (row.low, row.high))
        text += f" ({low} to {high}{'' if row.level else ', not calibrated'})"
    if row.measure in NOT_GIVEN and row.reason:
        text += f'<br><span class="small">{escape(UNREAD)}</span>'
    return text


def comparisons(report: AnalysisReport) -> str:
    """Return how groups differ."""
    found = report.comparisons
    two = _said_once(found, lambda c: (c.group_a, c.group_b))
    pair = " − ".join(two or ("a", "b"))
    columns: dict[str, Callable[[Comparison], str]] = {"measure": lambda c: _um(_title(c))}
    if _said_once(found, lambda c: c.region) is None:
        columns["region"] = lambda c: escape(c.region)
    if two is None:
        columns["groups a − b"] = lambda c: f"{escape(c.group_a)} − {escape(c.group_b)}"
    columns["n"] = lambda c: f"{c.animals[0]},&nbsp;{c.animals[1]}"
    columns["means"] = lambda c: ",&nbsp;".join(
        MEASURES[c.measure].text(mean) for mean in (c.mean_a, c.mean_b)
    )
    columns[f"difference {escape(pair)} (95 % interval)"] = _difference
    columns["Hedges&#x27; g (95 %)"] = _standardised
    test = _said_once(found, lambda c: c.test or c.reason)
    if test is None:
        columns["test"] = lambda c: escape(c.test or c.reason)
    columns["p"] = lambda c: "–" if c.p is None else f"{c.p:.3g}"
    columns["p, Holm"] = lambda c: "–" if c.p_holm is None else f"{c.p_holm:.3g}"
    lines = [[column(c) for column in columns.values()] for c in found]
    said = ["n: animals, each the mean of its sections. Holm: corrected for all tests of a region."]
    said += [f"Test: {test}."] if test else []
    said += least_p_notes(found)
    below = "".join(f'<p class="small">{escape(each)}</p>' for each in said)
    return f'<div class="wide">{table(list(columns), lines)}</div>{below}'


def _said_once(found: Sequence[Comparison], what: Callable[[Comparison], T]) -> T | None:
    """Return what all comparisons have in common; None where they differ."""
    seen = list(dict.fromkeys(what(each) for each in found))
    return seen[0] if len(seen) == 1 else None


def _title(comparison: Comparison) -> str:
    return MEASURES[comparison.measure].title


def _difference(comparison: Comparison) -> str:
    measure = MEASURES[comparison.measure]
    text = measure.text(comparison.difference)
    if comparison.low is not None and comparison.high is not None:
        text += f" ({measure.text(comparison.low)} to {measure.text(comparison.high)})"
    return text


def _standardised(comparison: Comparison) -> str:
    g, low, high = comparison.hedges_g, comparison.g_low, comparison.g_high
    if g is None:
        return "–"
    return f"{g:.2f}" + ("" if low is None or high is None else f" ({low:.2f} to {high:.2f})")


def definitions(report: AnalysisReport) -> str:
    """Return what each measure is that the report has a value of."""
    given = {row.measure for row in report.rows if row.value is not None}
    lines = [[_um(MEASURES[name].label), _um(said)] for name, said in DEFINITIONS.items()
             if name in given]  # fmt: skip
    return f'<div class="wide said">{table(["measure", "what it is"], lines)}</div>'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"


def _um(text: str) -> str:
    return escape(in_micro(text))


def in_micro(text: str) -> str:
    """Return text with its units as people write them."""
    return re.sub(r"\b(um2|mm2|um)\b", lambda found: UNITS[found[0]], text)
