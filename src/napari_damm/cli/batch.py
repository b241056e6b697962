"""Many sections by one command: `napari-damm predict INPUT... --out-dir DIR`.

1. `check_places`: one section goes to `--out`, many to `--out-dir`; what belongs to one file alone
   is refused for many.
2. The pairs are shown before anything is computed; `--dry-run` stops there, with what each costs.
3. Where RO-Crates are asked for, each is written when its section is done: what ends the batch
   early leaves no finished section without.
4. A list at the end says what became of each section, failures last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.cli.option_names import in_options
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.engine.batch_sections import ENDING, images_in
from napari_damm.engine.crate import write_crate
from napari_damm.events import Event, SectionDone
from napari_damm.trust.verdict import said_of_model
from napari_damm.util.areas import Areas, areas_of_geojson
from napari_damm.util.errors import one_line
from napari_damm.util.text import count

if TYPE_CHECKING:
    from napari_damm.engine.batch import BatchReport
    from napari_damm.engine.batch_sections import BatchSection
    from napari_damm.engine.config import PredictConfig

AGAIN = "run the same command with --resume to go on"


@dataclass(frozen=True)
class Batch:
    """The sections of one command, and how they are predicted."""

    sections: Sequence[BatchSection]
    model: str | None
    config: PredictConfig
    resume: bool
    ro_crate: bool = False

    def show_plan(self) -> int:
        """Say what is paired and what each would cost; 1 where one cannot be predicted."""
        from napari_damm import api
        from napari_damm.engine.batch import check

        check(self.sections, self.config, resume=True)
        chosen = {section.model or self.model for section in self.sections}
        models = {each: api.load_model(each, self.config.device) for each in chosen}
        code = 0
        for section in self.sections:
            try:
                store = section.store if section.store.parent.exists() else None
                model, config = models[section.model or self.model], section.config(self.config)
                told = str(api.plan(section.open(), model, config, store))
            except (ValueError, OSError) as error:
                told, code = f"cannot be predicted: {in_options(one_line(error))}", 1
            echo(f"{section}: {told}")
        return code

    def run(self, client: Any) -> int:
        """Predict all, and list what became of each.

        Raises
        ------
        JobInterrupted
            With a message that says how far it came.
        JobStopped
            If any section failed, or windows of one.
        """
        from napari_damm import api
        from napari_damm.engine.batch import check

        check(self.sections, self.config, self.resume, remote=client is not None)
        for section in self.sections:
            echo(section)
        tally = Tally()
        events = api.predict_batch(self.sections, self.model, self.config, client, self.resume)
        crates = _Crates()
        if self.ro_crate:
            events = crates.of(events)
        try:
            report: BatchReport = follow(events, tally).result
        except KeyboardInterrupt:
            raise JobInterrupted(f"interrupted{_how_far(tally)}") from None
        for line in listed(report):
            echo(line)
        for line in crates.lines:
            echo(line)
        partly = sum(bool(each.failed) for each in report.done)
        if report.failed or partly or crates.missing:
            failed = f"{len(report.failed)} of {count(len(self.sections), 'section')} failed"
            windows = f", {partly} with failed windows" if partly else ""
            windows += f", {crates.missing} without RO-Crate" if crates.missing else ""
            raise JobStopped(f"finished, but {failed}{windows} (listed above); {AGAIN}")
        return 0


@dataclass
class _Crates:
    """The RO-Crates of a batch: what became of each, and how many could not be written."""

    lines: list[str] = field(default_factory=list)
    missing: int = 0

    def of(self, events: Iterator[Event]) -> Iterator[Event]:
        """Pass a batch's events on, and describe each section that is done."""
        try:
            for event in events:
                if isinstance(event, SectionDone) and not event.failed:
                    self._write(event)
                yield event
        finally:  # the batch ends with its driver; a plain iterator has nothing to close
            getattr(events, "close", lambda: None)()

    def _write(self, done: SectionDone) -> None:
        try:
            self.lines.append(f"RO-Crate    {write_crate(done.result.path)}")
        except (ValueError, OSError) as error:  # the other sections are not to wait for it
            self.missing += 1
            self.lines.append(f"no RO-Crate {done.section}: {in_options(one_line(error))}")


def check_places(
    inputs: int, out: Path | None, out_dir: Path | None, nuclei: Path | None, pattern: str | None
) -> None:
    """Refuse places that do not go with so many inputs.

    Raises
    ------
    ValueError
        Naming the option to give instead.
    """
    if (out is None) == (out_dir is None):
        given = "both are given" if out is not None else "none is given"
        raise ValueError(f"give --out for one section or --out-dir for many: {given}")
    if out is not None and inputs != 1:
        raise ValueError(f"--out goes with one INPUT, got {inputs}: give --out-dir for many")
    if out_dir is not None and nuclei is not None:
        raise ValueError("--nuclei goes with --out: give --nuclei-pattern with --out-dir")
    if out is not None and pattern is not None:
        raise ValueError("--nuclei-pattern goes with --out-dir: give --nuclei FILE with --out")


def check_is_one(given: Path) -> None:
    """Refuse a folder of images where one section is asked for.

    Raises
    ------
    ValueError
        Naming what to give instead.
    """
    inside = images_in(given) if given.is_dir() else []
    if inside:
        raise ValueError(
            f"{given} is a folder with {count(len(inside), 'image')}, and --out takes one section: "
            f"give --out-dir DIR in its place to predict all, or one of them, such as {inside[0]}"
        )


def check_one_way(models: Sequence[str], modes: Sequence[str]) -> None:
    """Refuse several models or modes for one result.

    Raises
    ------
    ValueError
        Naming the option to give instead.
    """
    for option, given in (("--model", models), ("--mode", modes)):
        if len(given) > 1:
            raise ValueError(f"{option} goes once with --out, got {len(given)}: give --out-dir")


def read_areas(areas: Path | None, out: Path | None) -> Areas | None:
    """Return the areas of one section; None where there are none, or a batch has those of each."""
    return None if areas is None or out is None else areas_of_geojson(areas)


def with_areas(sections: Sequence[BatchSection], folder: Path | None) -> list[BatchSection]:
    """Give each section its file of areas.

    Raises
    ------
    ValueError, OSError
        If there is no such folder, or it lacks one.
    """
    if folder is None:
        return list(sections)
    if not folder.is_dir():
        raise NotADirectoryError(f"--areas {folder} must be a folder with --out-dir")
    found = [
        replace(each, areas=folder / f"{each.store.name.removesuffix(ENDING)}.geojson")
        for each in sections
    ]
    missing = next((each.areas for each in found if each.areas and not each.areas.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{missing} is missing: draw its areas, or leave the section out")
    return found


def one_slice(axis: str, value: str | None) -> int | None:
    """Return the plane that is taken of every section.

    Raises
    ------
    ValueError
        If all are asked for.
    """
    if value is not None and not value.isdecimal():
        raise ValueError(f"--{axis} must be a number from 0 with --out-dir, got {value!r}")
    return None if value is None else int(value)


def listed(report: BatchReport) -> Iterator[str]:
    """Say what became of each section, line by line."""
    for done in report.done:
        record = getattr(done.result, "record", {})
        trust = (record.get("trust") or {}).get("verdict")
        facts = [f"{done.seconds:.1f} s"]
        facts += [f"trust: {trust}"] if trust else []
        facts += [said_of_model(record)] if said_of_model(record) else []
        facts += [f"{count(len(done.failed), 'window')} failed"] if done.failed else []
        yield f"done        {done.section}  ({', '.join(facts)})"
    for failed in report.failed:
        yield f"failed      {failed.section}: {in_options(failed.message)}"


def _how_far(tally: Tally) -> str:
    if tally.section is None:
        return ""
    return f" in section {tally.section.number} of {tally.section.total}; {AGAIN}"
