"""The command `napari-damm analyze`.

1. Turn inputs and options into sources and settings.
2. Drive the analysis, with its progress; a section that fails is listed, the others go on.
3. Print the measures of all tissue, and where the rest is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_damm.analysis.config import AnalyzeConfig, bands_of
from napari_damm.cli.data_options import CoarsePixels, NucleiChannel, PixelSize, VesselsChannel
from napari_damm.cli.options import said, with_settings
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.util.text import name_or_index

if TYPE_CHECKING:
    from napari_damm.analysis.agreement import Agreement
    from napari_damm.analysis.groups import Comparison
    from napari_damm.analysis.report import AnalysisReport, MeasureRow
    from napari_damm.util.measure import Measure

HELP = """Measure how particles spread: distances, areas, cells, uniformity, groups.

Writes measures.csv, reasons.csv, profile.csv, report.json, report.html and figures into a new
folder."""
OUTPUTS = ("report.html", "measures.csv", "reasons.csv", "profile.csv", "report.json")


@with_settings(AnalyzeConfig, leave_out=("tile_px",))
def analyze(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULT|INPUT...",
            help="Results of predict, or pictures with an imaged particle channel.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the report; it must not exist yet.")
    ],
    vessels_channel: VesselsChannel = None,
    nuclei_channel: NucleiChannel = None,
    particles_channel: Annotated[
        str | None,
        typer.Option(
            metavar="C",
            help="Channel with imaged particles; of a result, to compare the prediction with.",
        ),
    ] = None,
    perfusion_channel: Annotated[
        str | None, typer.Option(metavar="C", help="Channel that marks perfused vessels.")
    ] = None,
    pixel_size: PixelSize = None,
    coarse_pixels: CoarsePixels = False,
    image: Annotated[
        str | None, typer.Option(metavar="N|NAME", help="Which of several images in a picture.")
    ] = None,
    z: Annotated[int | None, typer.Option(metavar="N", help="Plane of a z stack, from 0.")] = None,
    t: Annotated[
        int | None, typer.Option(metavar="N", help="Time point of a series, from 0.")
    ] = None,
    section: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The picture a result was predicted from, if moved."),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="GeoJSON, or a label picture: each number is a region."),
    ] = None,
    vessel_labels: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Label picture: what is not 0 is vessel."),
    ] = None,
    nucleus_labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Label picture: each number is a nucleus.")
    ] = None,
    band: Annotated[
        list[str] | None,
        typer.Option(metavar="LOW-HIGH", help="A region by distance from the tissue's edge, um."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Table with columns file, animal, group.")
    ] = None,
    **settings: Any,
) -> int:
    """Measure how particles spread: distances, areas, cells, uniformity, groups."""
    from napari_damm import api
    from napari_damm.analysis.findings import kept_beside

    of_one = {
        "--section": section, "--regions": regions, "--vessel-labels": vessel_labels,
        "--nucleus-labels": nucleus_labels,
    }  # fmt: skip
    given = [option for option, value in of_one.items() if value is not None]
    if len(inputs) > 1 and given:
        raise ValueError(f"{given[0]} belongs to one input: give one at a time, got {len(inputs)}")
    bands = tuple(one for text in band or () for one in bands_of(text))
    config = api.AnalyzeConfig(bands=bands, **said(settings))
    if groups is None and "test" in said(settings):
        raise ValueError("--test compares groups of animals: give --groups CSV, too")
    sources = [
        api.MapSource(
            path,
            vessels_channel=name_or_index(vessels_channel),
            nuclei_channel=name_or_index(nuclei_channel),
            particles_channel=name_or_index(particles_channel),
            perfusion_channel=name_or_index(perfusion_channel),
            pixel_size_um=pixel_size,
            coarse_pixels=coarse_pixels,
            section=section,
            regions=regions,
            vessel_labels=vessel_labels,
            nucleus_labels=nucleus_labels,
            image=image,
            z=z,
            t=t,
        )
        for path in inputs
    ]
    try:
        finished = follow(api.analyze(sources, config, out, groups), Tally())
    except KeyboardInterrupt:
        kept = kept_beside(out)
        if not kept.is_dir():
            raise
        raise JobInterrupted(
            f"interrupted; what was measured is kept in {kept}: the same command goes on from there"
        ) from None
    report = finished.result
    for line in summary(report):
        echo(line)
    for name in OUTPUTS:
        echo(f"{name:13} {report.path / name}")
    if finished.failed:
        total = len(report.sections) + len(finished.failed)
        raise JobStopped(
            f"finished, but {len(finished.failed)} of {total} sections could not be measured "
            "(listed above)"
        )
    if (
        "test" in said(settings)
        and report.comparisons
        and all(each.p is None for each in report.comparisons)
    ):
        reasons = dict.fromkeys(each.reason for each in report.comparisons)
        raise JobStopped(
            f"finished, but the groups could not be compared by --test {config.test}: "
            f"{next(iter(reasons))}"
        )
    return 0


def summary(report: AnalysisReport) -> Iterator[str]:
    """Say what was measured of all tissue of each section, line by line."""
    from napari_damm.analysis.measures import MEASURES
    from napari_damm.analysis.regions import TISSUE

    yield from report.cautions
    for facts in report.sections:
        yield f"{facts.name} ({'predicted' if facts.predicted else 'imaged'} particles)"
        for row in report.rows:
            if (row.section, row.region) == (facts.name, TISSUE):
                measure = MEASURES[row.measure]
                yield f"  {measure.label:44}{_value(row, measure)}"
        if facts.agreement is not None:
            yield from _agreement(facts.agreement)
    yield from report.remarks
    yield from _groups([c for c in report.comparisons if c.region == TISSUE])


def _agreement(found: Agreement) -> Iterator[str]:
    """Say how far a predicted map agrees with the imaged one."""
    from napari_damm.analysis.agreement import SHOWN

    yield "  predicted against imaged particles"
    for name, measure in SHOWN.items():
        value = getattr(found, name)
        if name in ("low", "high"):
            continue
        text = f"{measure.text(value)} {measure.unit}".rstrip() if value is not None else "–"
        if name == "bias" and found.low is not None and found.high is not None:
            limits = (measure.text(limit) for limit in (found.low, found.high))
            text += f" (limits of agreement {' to '.join(limits)})"
        yield f"    {measure.label:42}{text}"


def _groups(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say how groups differ; where no test can be made for one reason, that once."""
    from napari_damm.analysis.measures import MEASURES

    reasons = {comparison.reason for comparison in comparisons}
    once = reasons.pop() if len(comparisons) > 1 and len(reasons) == 1 else ""
    if once:
        yield f"Groups: {once}"
    for comparison in comparisons:
        measure = MEASURES[comparison.measure]
        line = (
            f"  {measure.title}: {comparison.group_a} minus {comparison.group_b} "
            f"{measure.text(comparison.difference)}{_limits(comparison, measure)}, "
            f"n = {comparison.animals[0]}, {comparison.animals[1]}"
        )
        if comparison.p is not None:
            line += f": p = {comparison.p:.3g}, {comparison.test}"
        elif not once:
            line += f": {comparison.reason}"
        yield line


def _limits(comparison: Comparison, measure: Measure) -> str:
    if comparison.low is None or comparison.high is None:
        return ""
    return f" (95 % {measure.text(comparison.low)} to {measure.text(comparison.high)})"


def _value(row: MeasureRow, measure: Measure) -> str:
    """Return a value with its unit and interval, or why there is none."""
    from napari_damm.analysis.cautions import UNREAD
    from napari_damm.analysis.measures import NOT_GIVEN

    if row.value is None:
        return f"– ({row.reason})"
    text = f"{measure.text(row.value)} {row.unit}".rstrip()
    if row.low is not None and row.high is not None:
        loose = "" if row.level else ", not calibrated"
        text += f" ({measure.text(row.low)} to {measure.text(row.high)}{loose})"
    return f"{text}, {UNREAD}" if row.reason and row.measure in NOT_GIVEN else text
