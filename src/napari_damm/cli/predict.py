"""The command `napari-damm predict`.

1. Check what can be checked without opening anything. With `--out-dir` it is a batch (`batch`).
2. A stack of z planes or time points becomes one prediction per slice, each with its own result.
3. Each is driven with a progress bar; `--resume` continues what an earlier command left, and skips
   what it finished.
4. However a prediction ends early, the message says how much is stored and how to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_damm.cli.batch import (
    Batch,
    check_is_one,
    check_one_way,
    check_places,
    one_slice,
    read_areas,
    with_areas,
)
from napari_damm.cli.data_options import (
    CoarsePixels,
    NucleiChannel,
    NucleiFile,
    PixelSize,
    VesselsChannel,
)
from napari_damm.cli.option_names import in_options
from napari_damm.cli.options import said, with_settings
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow
from napari_damm.cli.streams import echo
from napari_damm.engine.batch_sections import in_all_ways
from napari_damm.engine.config import EXPECTED, PredictConfig
from napari_damm.engine.crate import check_crates, write_crate
from napari_damm.trust.cells import shares_in_words
from napari_damm.trust.verdict import said_of_model
from napari_damm.util.advice import advice_of
from napari_damm.util.files import RESUME_OR_REMOVE, check_folder, check_new
from napari_damm.util.text import name_or_index

if TYPE_CHECKING:
    from napari_damm.events import Finished
    from napari_damm.slide import Slide

STACK_AXES = ("z", "t")
SUFFIXES = (".ome.zarr", ".zarr")


@dataclass(frozen=True)
class Inputs:
    """What was asked for: the section, its channels, and which slices of a stack."""

    image: str
    options: dict[str, Any]
    slices: dict[str, str | None]

    def open(self, **index: Any) -> Slide:
        """Open one slice (or an image that is no stack)."""
        from napari_damm import api

        try:
            return api.open_slide(self.image, **self.options, **index)
        except ValueError as error:
            raise self._or_all(error) from error

    def _or_all(self, error: ValueError) -> ValueError:
        """Add that all slices of a stack can be had, where none was chosen."""
        advice = advice_of(error)
        axis = next((name for name in getattr(advice, "parameters", ()) if name in STACK_AXES), "")
        if advice is None or self.slices.get(axis, "") is not None:
            return error
        return ValueError(f"{in_options(advice)}, or take them all with --{axis} all")

    def indices(self) -> list[dict[str, int]]:
        """Return which slices to predict, each as the arguments of `open`."""
        asked = {axis: value for axis, value in self.slices.items() if value is not None}
        every = {axis for axis, value in asked.items() if value == "all"}
        one = {axis: _index(axis, value) for axis, value in asked.items() if axis not in every}
        if not every:
            return [one]
        from napari_damm.slide import stack_size

        size = stack_size(self.image, self.options["nuclei"], self.options["image"])
        found: list[dict[str, int]] = [one]
        for axis in sorted(every):
            length = getattr(size, axis)
            found = [{**index, axis: k} for index in found for k in range(length)]
        return found


HELP = """Predict nanoparticles, uncertainty and branch of sections of any size.

One section goes to --out, many to --out-dir; there, one that fails does not stop the others."""


@with_settings(
    PredictConfig, leave_out=("shard", "order", "focus", "region_name"), repeated=("mode",)
)
def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT [INPUT]...",
            help="The section's file; with --out-dir any number of files, and folders of them.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="R.ome.zarr", help="Where the result goes.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the results of many sections go.")
    ] = None,
    nuclei: NucleiFile = None,
    nuclei_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="A=B",
            help="With --out-dir: nuclei are in the file whose name has B where the section's has "
            "A, such as CD31=DAPI.",
        ),
    ] = None,
    vessels_channel: VesselsChannel = None,
    nuclei_channel: NucleiChannel = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Model; the bundled one by default. With --out-dir, --model and --mode may be "
            "given several times: each section is predicted in every way.",
        ),
    ] = None,
    areas: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Only these areas: polygons in vessel pixels as GeoJSON, as QuPath exports them. "
            "With --out-dir a folder that holds NAME.geojson for a section NAME.ome.tif.",
        ),
    ] = None,
    pixel_size: PixelSize = None,
    z: Annotated[
        str | None, typer.Option(metavar="N|all", help="Plane of a z stack, from 0.")
    ] = None,
    t: Annotated[
        str | None, typer.Option(metavar="N|all", help="Time point of a series, from 0.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="N|NAME", help="Which image, where the file holds several."),
    ] = None,
    coarse_pixels: CoarsePixels = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what is in --out; skip what is finished.")
    ] = False,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Compute on this dask cluster.")
    ] = None,
    ro_crate: Annotated[
        bool, typer.Option("--ro-crate", help="Describe results as RO-Crates, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would compute and cost, and stop.")
    ] = False,
    **settings: Any,
) -> int:
    """Predict one section, every slice of a stack, or many sections."""
    check_places(len(files), out, out_dir, nuclei, nuclei_pattern)
    if out is not None:
        check_is_one(Path(files[0]))
        check_out(out, resume or dry_run)
    if ro_crate:
        check_crates()
    from napari_damm import api

    models, modes = model or [], settings.pop("mode") or []
    if out is not None:
        check_one_way(models, modes)
    settings["mode"] = modes[0] if len(modes) == 1 else None
    config = api.PredictConfig(**said(settings), areas=read_areas(areas, out))
    options = {
        "vessels_channel": name_or_index(vessels_channel),
        "nuclei_channel": name_or_index(nuclei_channel),
        "pixel_size_um": pixel_size,
        "image": name_or_index(image),
        "coarse_pixels": coarse_pixels,
    }
    with ExitStack() as stack:
        if out_dir is not None:
            options |= {"z": one_slice("z", z), "t": one_slice("t", t)}
            sections = api.find_sections(files, out_dir, nuclei_pattern, options)
            sections = in_all_ways(with_areas(sections, areas), models, modes)
            one_model = models[0] if len(models) == 1 else None
            batch = Batch(sections, one_model, config, resume, ro_crate)
            return batch.show_plan() if dry_run else batch.run(_client(stack, scheduler))
        assert out is not None  # since check_places
        one_model = models[0] if models else None
        inputs = Inputs(files[0], {"nuclei": nuclei, **options}, {"z": z, "t": t})
        targets = [(index, sliced(out, index, z, t)) for index in inputs.indices()]
        for _, target in targets:
            check_out(target, resume or dry_run)
        if dry_run:
            for index, target in targets:
                echo(f"{target.name}: {api.plan(inputs.open(**index), one_model, config, target)}")
            return 0
        client = _client(stack, scheduler)
        jobs = (
            Prediction(inputs.open(**index), one_model, config, target, client, resume, ro_crate)
            for index, target in targets
        )
        failed = sum(job.run() for job in jobs)
    if failed:
        raise JobStopped(
            f"finished, with failed windows: {failed} (listed above); --resume tries them again"
        )
    return 0


def _client(stack: ExitStack, scheduler: str | None) -> Any:
    """Connect to the cluster that was named, until the stack is left; None for none."""
    if scheduler is None:
        return None
    from napari_damm.engine.workers import dask

    return stack.enter_context(dask.connect(scheduler))


@dataclass(frozen=True)
class Prediction:
    """One prediction of the command."""

    slide: Slide
    model: str | None
    config: PredictConfig
    out: Path
    client: Any
    resume: bool
    ro_crate: bool

    def run(self) -> int:
        """Drive it to its end, say what came out, and return how many windows failed.

        Raises
        ------
        JobInterrupted, JobStopped
            With a message that says how to continue.
        """
        from napari_damm import api

        tally = Tally()
        more = {"client": self.client} if self.client is not None else {}
        more |= {"resume": True} if self.resume else {}
        try:
            finished = follow(
                api.predict(self.slide, self.model, self.config, store=self.out, **more), tally
            )
        except KeyboardInterrupt:
            raise JobInterrupted(f"interrupted{_to_continue(tally)}") from None
        except JobStopped as error:
            raise JobStopped(f"{error}{_to_continue(tally)}") from error
        echo(f"section     {self.slide}")
        for line in summary(self.out, tally, finished):
            echo(line)
        if self.ro_crate and not finished.failed:
            echo(f"RO-Crate    {write_crate(self.out)}")
        return len(finished.failed)


def check_out(out: Path, may_exist: bool) -> None:
    """Refuse, before anything is opened, a place where no result can go.

    Raises
    ------
    ValueError, OSError
        If it has another suffix, exists already, or its folder does not.
    """
    if out.suffix.lower() != ".zarr":
        raise ValueError(f"--out {out} must end in .ome.zarr")
    if may_exist:
        check_folder(out)
    else:
        check_new(out, RESUME_OR_REMOVE)


def sliced(out: Path, index: dict[str, int], z: str | None, t: str | None) -> Path:
    """Return where a slice's result goes: `R.z3.ome.zarr` where all slices were asked for.

    Only `.ome.zarr` or `.zarr` is a suffix: a name may hold dots, as in `mouse1.5x.ome.zarr`.
    """
    asked = {"z": z, "t": t}
    parts = [f"{axis}{index[axis]}" for axis in STACK_AXES if asked[axis] == "all"]
    if not parts:
        return out
    end = len(out.name) - len(next(s for s in SUFFIXES if out.name.lower().endswith(s)))
    return out.with_name(".".join([out.name[:end], *parts]) + out.name[end:])


def summary(out: Path, tally: Tally, finished: Finished) -> Iterator[str]:
    """Say what a finished prediction made, line by line."""
    from napari_damm.engine.branch_use import branch_use_in_words
    from napari_damm.engine.intervals import interval_in_words

    planned = tally.planned
    assert planned is not None
    height, width = planned.shape
    record = getattr(finished.result, "record", {})
    yield f"result      {out}"
    yield f"map         {width} x {height} px of {planned.pixel_size_um:g} um"
    yield f"windows     {planned.windows} predicted, {planned.background_windows} background"
    if (samples := record.get("samples", 1)) > 1:
        # in mode expected they are drawn beside the map
        what = str(samples) if record.get("mode") == EXPECTED else f"mean of {samples}"
        yield f"samples     {what}; their spread is NP std"
    yield from trust_lines(record.get("trust"))
    if warning := said_of_model(record):
        yield f"            {warning}"
    yield f"interval    {interval_in_words(record)}"
    used = branch_use_in_words(record, tally.windows_multi_modal, tally.windows_done)
    yield f"branch      {used}"
    yield f"time        {finished.seconds:.1f} s"


def trust_lines(trust: Mapping[str, Any] | None) -> Iterator[str]:
    """Say how far a result can be trusted, and why not further."""
    if not trust:
        return
    yield f"trust       {trust['verdict']}"
    for line in filter(None, [shares_in_words(trust), *trust["reasons"]]):
        yield f"            {line}"


def _to_continue(tally: Tally) -> str:
    """Say how much is stored; nothing for a job that had not begun."""
    if tally.planned is None:
        return ""
    stored = f"{tally.shards_done} of {tally.planned.shards} parts are stored"
    return f"; {stored}, run the same command with --resume to go on"


def _index(axis: str, value: str | None) -> int:
    if value is None or not value.isdecimal():
        raise ValueError(f"--{axis} must be a number from 0, or all, got {value!r}")
    return int(value)
