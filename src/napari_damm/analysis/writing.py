"""A report on disk: a new folder with tables, JSON, figures and one page; whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from napari_damm.analysis.figures import figures
from napari_damm.analysis.page import Picture, page
from napari_damm.analysis.report import AnalysisReport
from napari_damm.util.files import written_folder
from napari_damm.util.panels import without_formulas

PICTURES = ("section-", "agreement-")
"""Figures that hold images: as SVG they would only wrap them."""


def write(report: AnalysisReport, folder: Path) -> AnalysisReport:
    """Write a report into a new folder; return it, knowing where it is.

    Raises
    ------
    ValueError, OSError
        If there is such a folder by now, or it cannot be written. Nothing is left then.
    """
    folder = folder.absolute()
    with written_folder(folder) as begun:
        pictures = []
        for name, figure in figures(report):
            png, svg = _drawn(figure, "png"), _drawn(figure, "svg")
            (begun / f"{name}.png").write_bytes(png)
            (begun / f"{name}.svg").write_bytes(svg)
            shown = png if name.startswith(PICTURES) else svg
            pictures.append(Picture(name, "png" if shown is png else "svg", shown))
        texts = {
            "measures.csv": report.measures_csv(),
            "reasons.csv": report.reasons_csv(),
            "profile.csv": report.profile_csv(),
            "report.json": report.to_json(),
            "report.html": page(report, pictures),
        }
        for name, text in texts.items():
            (begun / name).write_text(text, encoding="utf-8", newline="\n")
    return report.at(folder)


def _drawn(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    without_formulas(figure)
    # Letters stay letters, which can be searched and edited; no date, so that files compare.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "napari-damm"}):
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()
