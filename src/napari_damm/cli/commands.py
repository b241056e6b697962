"""The commands of `napari-damm`.

1. A command checks what it was given, resolves it into the same frozen config that Python users
   and widgets use, and drives the job's events (`progress.follow`).
2. `run` turns every outcome into an exit code and one line on stderr: 0 done, 1 stopped or
   finished with failures, 2 bad input or usage, 130 interrupted.
3. What a failed command had begun to write is removed again; a prediction is kept, to be resumed.

Heavy modules are imported inside the commands: `--help` and usage errors answer at once.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from napari_damm.cli import INTERRUPTED, signals
from napari_damm.cli.analyze import HELP as ANALYZE_HELP
from napari_damm.cli.analyze import analyze as _analyze
from napari_damm.cli.calibrate import HELP as CALIBRATE_HELP
from napari_damm.cli.calibrate import calibrate as _calibrate
from napari_damm.cli.evaluate import HELP as EVALUATE_HELP
from napari_damm.cli.evaluate import evaluate as _evaluate
from napari_damm.cli.models import models as _models
from napari_damm.cli.option_names import in_options
from napari_damm.cli.predict import HELP as PREDICT_HELP
from napari_damm.cli.predict import predict as _predict
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow, stopped_because
from napari_damm.cli.streams import echo, safe_streams
from napari_damm.cli.train import HELP as TRAIN_HELP
from napari_damm.cli.train import train as _train
from napari_damm.cli.usage import said_of_number
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.files import check_new
from napari_damm.util.text import gigabytes, printable, without_long_words
from napari_damm.util.version import __version__

DONE, STOPPED, BAD_INPUT = 0, 1, 2

# typer carries its own copy of click and exports only leaves of its exception tree.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Predict the nanoparticle distribution of tumour sections from vessels and nuclei.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(_models, name="models")
app.command(help=PREDICT_HELP)(_predict)
app.command(help=EVALUATE_HELP)(_evaluate)
app.command(help=CALIBRATE_HELP)(_calibrate)
app.command(help=ANALYZE_HELP)(_analyze)
app.command(help=TRAIN_HELP)(_train)

DEMO_HELP = """Simulate a tumour section, predict it with the bundled model, compare with the truth.

Writes the section (OME-TIFF), the result (OME-Zarr) and a figure (PNG). Seeds from 10,000 on
give sections that the bundled model was not trained on."""
SIMULATE_HELP = "Write a simulated tumour section (OME-TIFF with five named channels)."

_BYTES_PER_PIXEL = 120
"""Peak memory of simulating: 122 bytes per pixel were seen at 512 px, 90 at 2048 px."""
_OPEN_DISPLAY = "from qtpy.QtWidgets import QApplication; QApplication([])"

_Out = Annotated[Path, typer.Option(help="Folder for the results; it must not exist yet.")]
_Size = Annotated[int, typer.Option(help="Side of the section, pixels.")]
_Seed = Annotated[int, typer.Option(help="Seed; the same seed gives the same result.")]


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if args is None else list(args)
    with safe_streams(), _quiet_libraries():
        try:
            _check_arguments(given)
            code: int | None = app(given, standalone_mode=False)
            if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
                raise KeyboardInterrupt
        except (KeyboardInterrupt, typer.Abort, JobInterrupted) as error:
            signals.ignore()
            return _fail(INTERRUPTED, one_line(error) if str(error) else "interrupted")
        except _UsageError as error:
            said = said_of_number(error, given)
            return _fail(BAD_INPUT, said or f"{_usage_message(error)} (see napari-damm --help)")
        except JobStopped as error:
            return _fail(STOPPED, str(error))
        except Exception as error:  # whatever it is, nobody is to read a traceback
            if isinstance(error, (ValueError, OSError)) and not is_disk_full(error):
                return _fail(BAD_INPUT, in_options(one_line(error)))
            return _fail(STOPPED, stopped_because(error))
        return code or DONE


def _check_arguments(given: Sequence[str]) -> None:
    """Refuse an empty argument, which as a path would mean the current folder."""
    if "" in given:
        before = given[given.index("") - 1] if given.index("") else "the command"
        raise ValueError(f"an argument is empty, after {before}: look for a variable without value")


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"napari-damm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Version.")
    ] = False,
) -> None: ...


@app.command("demo", help=DEMO_HELP)
def _demo(
    out: _Out = Path("napari-damm-demo"),
    size: _Size = 1024,
    seed: _Seed = 10_000,
    gui: Annotated[bool, typer.Option("--gui", help="Open the result in napari.")] = False,
) -> int:
    from napari_damm.cli.demo import Demo

    _check_fits(size)
    if gui:
        _check_gui()
    with _nothing_left_on_failure(out, is_folder=True):
        job = Demo(out, size, seed)
        follow(job.predict(), Tally())
        for line in job.report():
            echo(line)
    if gui:
        _open_in_napari(job.section_path, job.result_path)
    return DONE


@app.command(help=SIMULATE_HELP)
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT.ome.tif", help="The file to write.")],
    size: _Size = 1024,
    seed: _Seed = 0,
    preset: Annotated[
        str, typer.Option(metavar="internal|external|varied", help="Kind of tissue and microscope.")
    ] = "internal",
) -> int:
    """Write a simulated section."""
    if not out.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise ValueError(f"{out} must end in .ome.tif")
    _check_fits(size)
    with _nothing_left_on_failure(out):
        from napari_damm.simulate import simulate_slide, write_section

        write_section(simulate_slide(size, seed, preset), out)
    echo(out)
    return DONE


@contextmanager
def _nothing_left_on_failure(out: Path, is_folder: bool = False) -> Iterator[None]:
    """Refuse an output that exists; remove it again if the command fails."""
    check_new(out)
    try:
        yield
    except BaseException:
        if is_folder:
            shutil.rmtree(out, ignore_errors=True)
        else:
            out.unlink(missing_ok=True)
        raise


def _check_fits(size: int) -> None:
    """Refuse a section that memory cannot hold, before any of it is made."""
    import psutil

    from napari_damm.simulate import check_size

    check_size(size)
    needed, free = _BYTES_PER_PIXEL * size**2, psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"a section of {size} x {size} px needs about {gigabytes(needed)} of memory and "
            f"{gigabytes(free)} are free: choose a smaller --size"
        )


def _check_gui() -> None:
    """Find out before the work, not after it, that there is nothing to show it with."""
    try:
        import napari.qt  # noqa: F401
    except (ImportError, RuntimeError) as error:  # no napari, or no Qt binding
        raise ValueError(f"--gui needs napari with Qt ({_without_qt(error)}") from error
    # In a process of its own: without a display Qt ends the process that asks.
    tried = subprocess.run(
        [sys.executable, "-P", "-c", _OPEN_DISPLAY], capture_output=True, check=False
    )
    if tried.returncode != 0:
        raise ValueError("--gui needs a display, and Qt finds none: run it without --gui")


def _without_qt(error: Exception) -> str:
    """Say why napari has no Qt, and what to do; its own words can hold a whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    if "Traceback" in str(error):  # a binding that is installed, with what Python said last of it
        return (
            f"the one that is installed cannot be loaded: {printable(lines[-1])}): install what "
            "that names, or run without --gui"
        )
    return f'{printable(lines[0])}): pip install "napari-damm[all]"'


def _open_in_napari(section: Path, result: Path) -> None:
    """Show a section with its result; outside the widgets, only here and above is napari known."""
    import napari

    viewer = napari.Viewer()
    for path in (section, result):
        viewer.open(str(path), plugin="napari-damm")
    napari.run()


def _usage_message(error: Exception) -> str:
    """Take the sentence out of one of click's usage errors."""
    format_message = getattr(error, "format_message", None)
    message = str(format_message() if format_message else error)
    return " ".join(message.split()).rstrip(".")


def _fail(code: int, message: str) -> int:
    with suppress(OSError):  # nobody reads it any more: the code says it
        sys.stderr.write(f"napari-damm: {printable(without_long_words(message))}\n")
    return code


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the warnings and log lines of libraries off the terminal, unless asked for with -W."""
    if sys.warnoptions:
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
