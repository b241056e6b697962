"""How long does napari stand still while a prediction runs?

Run: python tests/benchmarks/responsiveness.py [--size 2048] [--mode fast] [--json FILE]

1. A real viewer (under Xvfb where there is no display) shows a simulated section; the widget is
   docked as its menu entry does it, and Predict is clicked.
2. A timer that wants to fire every 5 ms notes when it does: the gaps between are what a person
   feels. Phases: starting (up to the first result layer), planned (until half a second after the
   last was added), running, finishing (from the end to a second later).
3. A second thread looks at the GUI thread's stack during long gaps and says where it was. "no
   Python" means that foreign code held the interpreter's lock, so that nobody could look.
4. napari keeps its settings, and the page of our preferences, in a folder that is thrown away:
   what the user prefers is neither read nor changed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np

TICK_MS = 5
LONG_MS = 50.0
SHOWN = 8
PHASES = ("starting", "planned", "running", "finishing")
OURS = ("napari_damm", "napari", "vispy", "zarr", "dask", "numpy")


@dataclass
class Watch:
    """The ticks of the GUI thread, and where it was in between."""

    ticks: list[float] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    places: list[tuple[float, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def tick(self) -> None:
        """Note that the event loop turns."""
        self.ticks.append(time.perf_counter())

    def mark(self, name: str) -> None:
        """Note when something happened first."""
        self.marks.setdefault(name, time.perf_counter())

    def look(self, gui_thread: int) -> None:
        """Note where the GUI thread is whenever it is late."""
        while not self.over.wait(0.01):
            now = time.perf_counter()
            if self.ticks and now - self.ticks[-1] > LONG_MS / 2000:
                self.places.append((now, _place(sys._current_frames().get(gui_thread))))

    def gaps(self) -> list[dict[str, object]]:
        """Return every gap with its phase and place, in order."""
        rows = []
        for start, end in zip(self.ticks, self.ticks[1:], strict=False):
            seen = Counter(place for at, place in self.places if start < at < end)
            where = seen.most_common(1)[0][0] if seen else "no Python"
            rows.append(
                {
                    "ms": 1000 * (end - start),
                    "at s": start - self.ticks[0],
                    "phase": self._phase(start, end),
                    "where": where if 1000 * (end - start) > LONG_MS else "",
                }
            )
        return rows

    def _phase(self, start: float, end: float) -> str:
        planned, shown, finished = (
            self.marks.get(name, np.inf) for name in ("layer 1", "layer 3", "finished")
        )
        if end < planned:
            return "starting"
        if start < shown + 0.5:
            return "planned"
        return "running" if end < finished else "finishing"


def _place(frame: FrameType | None) -> str:
    """Name the innermost functions of known packages on a stack."""
    names: list[str] = []
    innermost = frame
    while frame is not None and len(names) < 3:
        module = frame.f_globals.get("__name__", "")
        if module.split(".")[0] in OURS:
            names.append(f"{module.removeprefix('napari.')}.{frame.f_code.co_name}")
        frame = frame.f_back
    if names or innermost is None:
        return " < ".join(names)
    return f"Qt, called from {innermost.f_globals.get('__name__')}.{innermost.f_code.co_name}"


@contextmanager
def own_settings() -> Iterator[None]:
    """Have napari, here and in child processes, keep its settings where nobody else does."""
    before = os.environ.get("NAPARI_CONFIG")
    with tempfile.TemporaryDirectory(prefix="napari-damm-") as folder:
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        try:
            yield
        finally:
            if before is None:
                del os.environ["NAPARI_CONFIG"]
            else:
                os.environ["NAPARI_CONFIG"] = before


@contextmanager
def display() -> Iterator[None]:
    """Have a display: the one there is, else a virtual one."""
    if os.environ.get("DISPLAY") or sys.platform != "linux":
        yield
        return
    if shutil.which("Xvfb") is None:
        raise SystemExit("there is no display and no Xvfb: install xvfb")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.environ["DISPLAY"] = ":" + os.read(read, 16).decode().strip()
    os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def measure(args: argparse.Namespace) -> tuple[Watch, str]:
    """Click Predict in a real viewer; return what was seen and the widget's last sentence."""
    import napari
    from qtpy.QtCore import QEventLoop, Qt, QTimer
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton

    from napari_damm.simulate import simulate_slide

    section = simulate_slide(args.size, 10_000)
    viewer = napari.Viewer()
    for name, colour in (("vessels", "green"), ("nuclei", "blue")):
        place = {"scale": (section.pixel_size_um,) * 2, "units": "um"}
        viewer.add_image(
            getattr(section, name), name=name, colormap=colour, blending="additive", **place
        )
    _, widget = viewer.window.add_plugin_dock_widget("napari-damm", "Predict nanoparticles")
    widget.findChild(QComboBox, "mode").setCurrentText(args.mode)
    if args.out:
        widget.findChild(QLineEdit, "out").setText(str(args.out))
    _settle(500)

    watch, loop, timer = Watch(), QEventLoop(), QTimer()
    sentences: list[str] = []
    before = len(viewer.layers)
    viewer.layers.events.inserted.connect(
        lambda event: watch.mark(f"layer {len(viewer.layers) - before}")
    )

    def ended(sentence: str) -> None:
        watch.mark("finished")
        sentences.append(sentence)
        QTimer.singleShot(1000, loop.quit)  # what the end leaves behind is part of it

    widget.ended.connect(ended)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(watch.tick)
    looker = threading.Thread(target=watch.look, args=(threading.get_ident(),), daemon=True)
    looker.start()
    timer.start(TICK_MS)
    button = widget.findChild(QPushButton, "predict")
    QTimer.singleShot(200, lambda: QTest.mouseClick(button, Qt.MouseButton.LeftButton))
    loop.exec()
    timer.stop()
    watch.over.set()
    viewer.close()
    return watch, sentences[0]


def _settle(ms: int) -> None:
    """Let the event loop turn until windows are drawn."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    QTimer.singleShot(ms, loop.quit)
    loop.exec()


def statistics(gaps: Sequence[dict[str, object]]) -> dict[str, float]:
    """Sum gaps up: percentiles, the longest, and the time that the loop ran."""
    ms = np.array([gap["ms"] for gap in gaps] or [0.0])
    shares = {f"p{share}": float(np.percentile(ms, share)) for share in (50, 95, 99)}
    return shares | {"max": float(ms.max()), "seconds": float(ms.sum() / 1000)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--out", type=Path, help="save the result there, in place of in memory")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    with own_settings(), display():
        watch, sentence = measure(args)
    gaps = watch.gaps()
    table = {"all": statistics(gaps)}
    table |= {p: statistics([gap for gap in gaps if gap["phase"] == p]) for p in PHASES}
    longest = sorted(gaps, key=lambda gap: -float(str(gap["ms"])))[:SHOWN]
    print(sentence)
    print(f"\n{'gaps in ms':10}" + "".join(f"{name:>9}" for name in table["all"]))
    for phase, row in table.items():
        print(f"{phase:10}" + "".join(f"{value:9.1f}" for value in row.values()))
    print("\nlongest\n" + "\n".join(_line(gap) for gap in longest))
    if args.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        report = {"machine": machine, "arguments": vars(args), "status": sentence}
        report |= {"gaps_ms": table, "longest": longest}
        args.json.write_text(json.dumps(report, default=str, indent=1))


def _line(gap: dict[str, object]) -> str:
    return f"{gap['ms']:7.1f} ms at {gap['at s']:6.1f} s  {gap['phase']:9}  {gap['where']}"


if __name__ == "__main__":
    main()
