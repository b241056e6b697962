"""A large section in napari: predicted from the widget, cancelled, napari closed, resumed.

Run: python tests/benchmarks/slide_in_napari.py --out FOLDER [--size 16384] [--tissue 0.08]
         [--mode draft] [--cancel-at 0.4] [--compare]

1. A pyramidal OME-TIFF of `--size` px is written, with simulated tissue on a share of it.
2. A napari process opens it, picks the two channels, and clicks Predict; the result goes to disk.
   Screenshots of the whole window are taken while it fills in. At a share of the windows Cancel
   is clicked and napari closed.
3. A second napari process opens the same file; the widget must offer Resume. It is clicked and run
   to the end, with more screenshots.
4. `--compare`: the same prediction in one go, without napari, must have the same digest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from responsiveness import _settle, display, own_settings
from sparse_slide import Tissue, write_tiff

RESULT = "result.ome.zarr"
SHOT_EVERY_S = 30.0


def session(args: argparse.Namespace) -> None:
    """Drive one napari: predict until the share to cancel at, or to the end."""
    import napari
    from qtpy.QtCore import QEventLoop, Qt, QTimer
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QComboBox, QLineEdit, QProgressBar, QPushButton

    viewer = napari.Viewer()
    start = time.perf_counter()
    viewer.open(str(args.out / "section.ome.tif"), plugin="napari-damm")
    print(f"opened in {time.perf_counter() - start:.1f} s")
    _, widget = viewer.window.add_plugin_dock_widget("napari-damm", "Predict nanoparticles")
    widget.findChild(QComboBox, "mode").setCurrentText(args.mode)
    field = widget.findChild(QLineEdit, "out")
    print(f"suggested: {Path(field.text()).name}")
    field.setText(str(args.out / RESULT))
    _settle(1000)
    predict, cancel, progress = (
        widget.findChild(kind, name)
        for kind, name in (
            (QPushButton, "predict"),
            (QPushButton, "cancel"),
            (QProgressBar, "progress"),
        )
    )
    print(f"button says {predict.text()!r}")
    loop, timer = QEventLoop(), QTimer()
    shots = 0

    def shoot() -> None:
        nonlocal shots
        name = f"{args.part}_{shots}.png"
        viewer.screenshot(str(args.out / name), canvas_only=False)
        print(f"{name}: {progress.text()}", flush=True)
        shots += 1

    def look() -> None:
        share = progress.value() / progress.maximum()
        if args.part == "first" and share >= args.cancel_at and cancel.isEnabled():
            shoot()
            QTest.mouseClick(cancel, Qt.MouseButton.LeftButton)

    def ended(sentence: str) -> None:
        print(sentence)
        QTimer.singleShot(1000, loop.quit)

    widget.ended.connect(ended)
    timer.timeout.connect(look)
    timer.start(500)
    pictures = QTimer()
    pictures.timeout.connect(shoot)
    pictures.start(round(1000 * SHOT_EVERY_S))
    shoot()
    QTest.mouseClick(predict, Qt.MouseButton.LeftButton)
    loop.exec()
    pictures.stop()
    shoot()
    print(f"button says {predict.text()!r}")
    viewer.close()


def compare(out: Path, mode: str) -> None:
    """Predict in one go, without napari, from the layers' own arrays, and compare digests."""
    from napari_damm import api

    slide = api.open_slide(
        out / "section.ome.tif", vessels_channel="vessels", nuclei_channel="nuclei"
    )
    for event in api.predict(slide, None, api.PredictConfig(mode=mode), out / "whole.ome.zarr"):
        last = event
    same = last.result.digest() == api.open_result(out / RESULT).digest()
    print(f"resumed result equals one in one go: {same}")
    if not same:
        sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the slide, run both sessions, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--tissue", type=float, default=0.08)
    parser.add_argument("--mode", default="draft")
    parser.add_argument("--cancel-at", type=float, default=0.4)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--part", choices=["first", "second"], help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        session(args)
        return
    args.out.mkdir(parents=True, exist_ok=True)
    if not (args.out / "section.ome.tif").exists():
        write_tiff(args.out / "section.ome.tif", args.size, args.tissue, Tissue())
    with own_settings(), display():
        for part in ("first", "second"):
            command = [sys.executable, __file__, "--out", str(args.out), "--mode", args.mode]
            command += ["--cancel-at", str(args.cancel_at), "--part", part]
            print(f"\n{part} napari", flush=True)
            subprocess.run(command, check=True)
    if args.compare:
        compare(args.out, args.mode)


if __name__ == "__main__":
    main()
