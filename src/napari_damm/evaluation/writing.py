"""A report on disk: a new folder with JSON, two tables and the figure; whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from napari_damm.evaluation.report import Report
from napari_damm.util.files import written_folder


def write(report: Report, folder: Path) -> Report:
    """Write a report into a new folder; return it, knowing where it is.

    Raises
    ------
    OSError
        If there is such a folder by now, or it cannot be written. Nothing is left then.
    """
    from napari_damm.evaluation.drawing import draw
    from napari_damm.util.panels import without_formulas

    folder = folder.absolute()
    texts = {
        "report.json": report.to_json(),
        "sections.csv": report.sections_csv(),
        "summary.csv": report.summary_csv(),
    }
    with written_folder(folder) as begun:
        for name, text in texts.items():
            (begun / name).write_text(text, encoding="utf-8")
        without_formulas(draw(report)).savefig(begun / "figure.png", format="png")
    return report.at(folder)
