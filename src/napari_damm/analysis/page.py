"""The report as one page (HTML) that opens anywhere, without us and without a network.

1. What was measured, and the warning where maps were predicted.
2. Sections with scale and colour bars, profiles, measures and what each is, groups (`page_tables`).
3. Agreement with imaged particles, where there are such.
4. A methods paragraph ready to paste; what the numbers mean and don't.

Pictures are inside the page. Names from files are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from napari_damm.analysis.agreement import SCALES, SHOWN
from napari_damm.analysis.groups import least_p_notes
from napari_damm.analysis.methods import methods_paragraph
from napari_damm.analysis.page_tables import comparisons, definitions, in_micro, measures, table
from napari_damm.analysis.report import PITFALLS, AnalysisReport
from napari_damm.util.version import __version__

SCALES_DIFFER = "Each on a scale of its own: read the bars beside them, do not compare colours."
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 13px; margin: .6rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { background: #f3f3f3; vertical-align: bottom; }
.wide { overflow-x: auto; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; }
.sections figure { flex: 1 1 26rem; max-width: 32rem; }
.warning { background: #fff3cd; border-left: 4px solid #d39e00; padding: .6rem 1rem; }
.methods { background: #f6f8fa; padding: .6rem 1rem; }
.said th, .said td { text-align: left; }
details { margin: .3rem 0; } summary { cursor: pointer; font-size: 13px; }
.small { color: #555; font-size: 13px; }
"""


@dataclass(frozen=True)
class Picture:
    """A figure as a file: its name without suffix, "png" or "svg", and its bytes."""

    name: str
    kind: str
    content: bytes


def page(report: AnalysisReport, pictures: Sequence[Picture]) -> str:
    """Return a report as one HTML page."""
    body = "\n".join(_parts(report, pictures))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>How particles spread</title><style>{STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def _parts(report: AnalysisReport, pictures: Sequence[Picture]) -> Iterator[str]:
    count = len(report.sections)
    yield "<h1>How particles spread</h1>"
    yield (
        f'<p class="small">{count} section{"s" if count != 1 else ""}, measured by napari-damm '
        f"{__version__}. The same numbers are in measures.csv and profile.csv beside this page.</p>"
    )
    if report.warning is not None:
        said = "".join(f"<p><strong>{escape(each)}</strong></p>" for each in report.cautions)
        said += f"<p><strong>Predicted, not imaged.</strong> {escape(report.warning)}</p>"
        yield f'<div class="warning">{said}</div>'
    yield "<h2>Sections</h2>" + _shown(pictures, "section-", "sections")
    if len(report.sections) > 1:
        yield f'<p class="small">{SCALES_DIFFER}</p>'
    if report.profiles:
        yield "<h2>Signal by distance from vessels</h2>" + _shown(pictures, "profiles")
    yield "<h2>Measures</h2>" + "".join(measures(report)) + definitions(report)
    if report.comparisons:
        yield "<h2>Groups</h2>" + comparisons(report) + _shown(pictures, "groups-")
    yield from _agreement(report, pictures)
    if report.failed:
        yield "<h2>Not measured</h2>" + _list(report.failed)
    yield f'<h2>Methods</h2><p class="methods">{escape(in_micro(methods_paragraph(report)))}</p>'
    compared = any(facts.agreement is not None for facts in report.sections)
    above = {*least_p_notes(report.comparisons), *([SCALES] if compared else [])}
    remarks = [each for each in report.remarks if each not in above]
    yield "<h2>What these numbers mean, and don't</h2>" + _list([*PITFALLS, *remarks])


def _shown(pictures: Sequence[Picture], start: str, style: str = "") -> str:
    found = [
        f'<figure><img alt="{escape(p.name)}" src="data:image/{_mime(p.kind)};base64,'
        f'{base64.b64encode(p.content).decode()}"></figure>'
        for p in pictures
        if p.name.startswith(start)
    ]
    return f'<div class="pictures {style}">{"".join(found)}</div>'


def _mime(kind: str) -> str:
    return "svg+xml" if kind == "svg" else kind


def _agreement(report: AnalysisReport, pictures: Sequence[Picture]) -> Iterator[str]:
    compared = [facts for facts in report.sections if facts.agreement is not None]
    if not compared:
        return
    lines = [
        [escape(f.name), *(m.text(getattr(f.agreement, name)) for name, m in SHOWN.items())]
        for f in compared
    ]
    head = ["section", *(escape(measure.title) for measure in SHOWN.values())]
    yield f'<h2>Predicted against imaged</h2><div class="wide">{table(head, lines)}</div>'
    yield f'<p class="small">{escape(SCALES)}</p>'
    yield _shown(pictures, "agreement-")


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(in_micro(item))}</li>" for item in items) + "</ul>"
