"""Measuring sections: open, find thresholds, add up, compare, write.

1. Everything is opened first: bad input ends here, before anything is computed.
2. Each section is measured on its own (`walk`); one that fails is told, and the others go on.
   What is found of each of several is kept until the report is written (`findings`), so that an
   analysis that was cut off does not begin anew.
3. Sections become animals and groups (`groups`).
4. The report goes into a new folder (`writing`), whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from napari_damm.analysis import cells as per_cell
from napari_damm.analysis import intervals
from napari_damm.analysis.agreement import SCALES, compare_maps, imaged_alone
from napari_damm.analysis.cautions import UNREAD, cautions_of, why_not_to_be_read
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.findings import KeptSections, SectionFindings
from napari_damm.analysis.group_table import Member, member_of, read_groups
from napari_damm.analysis.groups import check_animals, compare_groups, least_p_notes
from napari_damm.analysis.measures import MEASURES, NOT_GIVEN, Measured, measures_of
from napari_damm.analysis.mixed import check_installed
from napari_damm.analysis.notices import notices_of, said_of_wide_vessels
from napari_damm.analysis.opening import open_source
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.profile import confinement
from napari_damm.analysis.regions import Band, Region, Tissue, TrustedTissue, with_own_names
from napari_damm.analysis.report import (
    AnalysisReport,
    MeasureRow,
    ProfileRow,
    SectionFacts,
)
from napari_damm.analysis.sources import MapLayers, MapSource, Source
from napari_damm.analysis.thumbnails import thumbnail
from napari_damm.analysis.unseen import said_of_fill
from napari_damm.analysis.vessels import STAINED
from napari_damm.analysis.walk import (
    SectionCounts,
    count_section,
    find_sample_thresholds,
    find_thresholds,
)
from napari_damm.events import Event, FailedItem, Finished, Notice, Preparing
from napari_damm.trust.intervals import Intervals
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.files import check_new
from napari_damm.util.given import check_path, settings_or_default

NOBODY = Member("", "")

T = TypeVar("T")


def analyze(
    data: Source | str | Path | Sequence[Source | str | Path],
    config: AnalyzeConfig | None = None,
    out: str | Path | None = None,
    groups: str | Path | Mapping[str, Member] | None = None,
) -> Iterator[Event]:
    """Measure how particles spread in sections; see `api.analyze`."""
    started = time.monotonic()
    config = settings_or_default(config, AnalyzeConfig)
    check_path(out, "out")
    folder = None if out is None else check_new(Path(out))
    given: list[Source | str | Path] = (
        [data] if isinstance(data, str) or not isinstance(data, Sequence) else list(data)
    )
    if not given:
        raise ValueError("there is nothing to measure: give one result or picture or more")
    sources = [MapSource(one) if isinstance(one, str | Path) else one for one in given]
    _check_once(sources)
    members = read_groups(groups) if isinstance(groups, str | Path) else groups
    if members and config.test == "mixed":
        check_installed()
    opened = _named_apart([open_source(source, config) for source in sources])
    whose = [_whose(one.section, members) for one in opened]
    check_animals(whose, config.test)
    found = _Found(config)
    kept = KeptSections(folder if len(opened) > 1 else None, config)
    known = [(o.section.name, o.section.identity, m) for o, m in zip(opened, whose, strict=True)]
    before = {each[0]: had for each in known if (had := kept.take(*each)) is not None}
    if before:
        yield Notice(
            f"of {len(opened)} sections {len(before)} had been measured before: taken from "
            f"{kept.folder}"
        )
    for number, (one, member) in enumerate(zip(opened, whose, strict=True)):
        of = f" ({number + 1} of {len(opened)})" if len(opened) > 1 else ""
        place = f"{one.section.name}{of}"
        if one.section.name in before:
            found.sections.append(before[one.section.name])
            continue
        try:
            findings = yield from _measure(one, member, place, config)
            found.sections.append(findings)
            kept.keep(findings, *known[number])
        except (ValueError, OSError) as error:
            # Where there is nothing else to measure, it is the answer.
            if is_disk_full(error) or len(opened) == 1:
                raise
            found.failed.append(f"{one.section.name}: {one_line(error)}")
            yield FailedItem(one.section.name, one_line(error))
    if not found.sections:
        raise ValueError(f"no section could be measured: {found.failed[0]}")
    report = found.report()
    if folder is not None:
        from napari_damm.analysis.writing import write

        yield Preparing("writing the report", 0, 1)
        report = write(report, folder)
        kept.clear(known)
    yield Finished(report, time.monotonic() - started, report.failed)


class _Found:
    """What has been found so far."""

    def __init__(self, config: AnalyzeConfig) -> None:
        self.config = config
        self.sections: list[SectionFindings] = []
        self.failed: list[str] = []

    def report(self) -> AnalysisReport:
        """Put together what was found."""
        rows = tuple(row for each in self.sections for row in each.rows)
        grouped = {row.group: None for row in rows if row.group}
        comparisons = compare_groups(rows, self.config.test) if grouped else []
        facts = tuple(each.facts for each in self.sections)
        notes = [note for each in self.sections for note in each.notes]
        if len({each.predicted for each in facts}) > 1 or any(f.agreement for f in facts):
            notes.append(SCALES)
        if comparisons and any(each.predicted for each in facts):
            unread = ", ".join(m.label for name, m in MEASURES.items() if name in NOT_GIVEN)
            notes.append(f"Differences of groups in {unread} are {UNREAD}.")
        if len(grouped) == 1:
            only = next(iter(grouped))
            notes.append(f"All sections are of one group, {only!r}: there is nothing to compare.")
        notes += least_p_notes(comparisons)
        return AnalysisReport(
            settings=self.config.to_dict(),
            sections=facts,
            rows=rows,
            profiles=tuple(row for each in self.sections for row in each.profiles),
            comparisons=tuple(comparisons),
            notes=tuple(dict.fromkeys(notes)),
            failed=tuple(self.failed),
        )


def _measure(
    one: MapLayers, member: Member, place: str, config: AnalyzeConfig
) -> Generator[Event, None, SectionFindings]:
    """Measure one section."""
    section = one.section
    regions = _regions(one, config)
    thresholds = yield from _told(find_thresholds(section, config), f"thresholds of {place}")
    looking_on = find_sample_thresholds(section, thresholds, config)
    of_samples = yield from _told(looking_on, f"thresholds of the samples of {place}")
    counting = count_section(section, regions, thresholds, config.tile_px, of_samples)
    counts = yield from _told(counting, f"measuring {place}")
    yield from notices_of(section, regions, counts)
    agreement = None
    if "imaged" in section.images:
        yield Preparing(f"comparing {place} with the imaged particles", 0, 0)
        agreement = compare_maps(section)
        alone = {**dict.fromkeys(thresholds), "vessels": thresholds.get("vessels")}
        counting = count_section(imaged_alone(section), regions[:1], alone, config.tile_px)
        imaged = yield from _told(counting, f"the imaged profile of {place}")
        profiles = [c.regions[regions[0].name].shells.outside() for c in (counts, imaged)]
        agreement = agreement.with_profiles(*profiles)
    known = intervals.intervals_of(section)
    facts = SectionFacts(
        name=section.name,
        shape=section.shape,
        pixel_um=section.pixel_um,
        predicted=section.predicted,
        vessels_from=_vessels_from(section),
        nuclei_from=_nuclei_from(section),
        thresholds={
            role: {"value": t.value, "method": t.method, "eta": t.eta}
            for role, t in thresholds.items()
            if t is not None
        },
        about=section.about,
        record=section.record,
        cells_by_distance=tuple(
            per_cell.positive_by_distance(
                counts.cells[regions[0].name], counts.thresholds.get("particles")
            )
        ),
        agreement=agreement,
        thumbnail=thumbnail(section, thresholds.get("vessels")),
    )
    rows = [row for each in regions for row in _rows(section, each, counts, (member, known))]
    by_distance = [row for each in regions for row in _profile(section, each, counts)]
    notes = []
    if section.predicted:
        notes = list(cautions_of(section.name, section.record, section.about))
        values = {row.measure: row.value for row in rows if row.region == regions[0].name}
        notes += intervals.notes_of(section, known, values)
    notes += said_of_fill(section)
    notes += said_of_wide_vessels(section, counts.regions[regions[0].name])
    if stays := confinement(counts.regions[regions[0].name].shells.profile()):
        notes.append(f"{section.name}: {stays}")
    return SectionFindings(facts, rows, by_distance, notes)


def _regions(one: MapLayers, config: AnalyzeConfig) -> list[Region]:
    """Return all regions of a section: all tissue first."""
    drawn: list[Region] = [*one.regions, *(Band(*band) for band in config.bands)]
    with_own_names(drawn)
    trusted: list[Region] = [] if one.section.trusted is None else [TrustedTissue()]
    return [Tissue(), *trusted, *drawn]


def _rows(
    section: ParticleMap,
    region: Region,
    counts: SectionCounts,
    about: tuple[Member, Intervals | None],
) -> Iterator[MeasureRow]:
    of_region = counts.regions[region.name]
    share = None
    if section.trusted is not None and of_region.pixels:
        share = of_region.trusted / of_region.pixels
    cells = counts.cells[region.name]
    drawn = [
        list(measures_of(s.regions[region.name], s.cells[region.name], s.thresholds))
        for s in counts.samples
    ]
    all_found = list(measures_of(of_region, cells, counts.thresholds))
    beside = {each.measure: each.value for each in all_found}
    for k, found in enumerate(all_found):
        if drawn:
            found, limits = intervals.of_samples(found, [each[k] for each in drawn], about[1])
        else:
            limits = intervals.interval(about[1], region, found, beside)
        yield _row(section, region, about[0], found, limits, share)


def _profile(section: ParticleMap, region: Region, counts: SectionCounts) -> Iterator[ProfileRow]:
    profile = counts.regions[region.name].shells.profile()
    if profile is None:
        return
    shells = [s.regions[region.name].shells.profile() for s in counts.samples]
    low, high = intervals.profile_spread(profile, shells)
    numbers = profile.distance_um, profile.signal, profile.pixels
    columns = (column.tolist() for column in numbers)
    for distance, signal, pixels, least, most in zip(*columns, low, high, strict=True):
        yield ProfileRow(section.name, region.name, distance, signal, least, most, pixels)


def _told(work: Generator[tuple[int, int], None, T], what: str) -> Generator[Event, None, T]:
    """Run work that yields (done, total), as events; return what it returns."""
    while True:
        try:
            done, total = next(work)
        except StopIteration as finished:
            result: T = finished.value
            return result
        yield Preparing(what, done, total)


def _row(
    section: ParticleMap,
    region: Region,
    member: Member,
    found: Measured,
    limits: intervals.Limits,
    share: float | None,
) -> MeasureRow:
    low, high, level = limits
    return MeasureRow(
        section=section.name,
        animal=member.animal,
        group=member.group,
        region=region.name,
        measure=found.measure,
        value=found.value,
        unit=found.unit,
        low=low,
        high=high,
        level=level,
        n=found.n,
        trusted_share=share,
        of=found.of,
        reason=found.reason or why_not_to_be_read(found.measure, section.predicted, section.about),
    )


def _vessels_from(section: ParticleMap) -> str:
    if section.vessel_labels is not None:
        return per_cell.DRAWN
    return STAINED if section.has_vessels else "none"


def _nuclei_from(section: ParticleMap) -> str:
    if section.nucleus_labels is not None:
        return per_cell.DRAWN
    return per_cell.SIMPLE if "nuclei" in section.images else "none"


def _whose(section: ParticleMap, members: Mapping[str, Member] | None) -> Member:
    if members is None:
        return NOBODY
    return member_of(members, section.name, str(section.about.get("file", "")))


def _check_once(sources: Sequence[Source]) -> None:
    """Refuse a file that is given twice in the same way: it would count as two sections."""
    given = [replace(each, path=Path(each.path).resolve(), name=None)
             for each in sources if isinstance(each, MapSource)]  # fmt: skip
    for number, each in enumerate(given):
        if each in given[:number]:
            raise ValueError(f"{each.path} is given twice: leave one out")


def _named_apart(opened: Sequence[MapLayers]) -> list[MapLayers]:
    """Tell sections of one name apart, such as files in several folders, by a number."""
    seen: dict[str, int] = {}
    named = []
    for one in opened:
        name = one.section.name
        count = seen[name] = seen.get(name, 0) + 1
        if count > 1:
            one = replace(one, section=replace(one.section, name=f"{name} ({count})"))
        named.append(one)
    return named
