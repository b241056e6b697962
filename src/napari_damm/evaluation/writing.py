"""A report on disk: a new folder with JSON, two tables and the figure; whole, or not at all."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from napari_damm.evaluation.report import Report


def check_new_folder(folder: Path) -> Path:
    """Return `folder` if a report can be written there.

    Raises
    ------
    ValueError
        If it exists, or the folder around it does not.
    """
    if folder.exists() or folder.is_symlink():
        raise ValueError(f"{folder} already exists; remove it or choose another name")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"the folder {parent} does not exist; create it first")
    return folder


def write(report: Report, folder: Path) -> Report:
    """Write a report into a new folder; return it, knowing where it is.

    Raises
    ------
    ValueError, OSError
        If there is such a folder by now, or it cannot be written. Nothing is left then.
    """
    from napari_damm.evaluation.drawing import draw

    folder = check_new_folder(folder).absolute()
    # Under another name until it is whole; a folder takes its name in one step.
    begun = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    begun.mkdir()
    try:
        texts = {
            "report.json": report.to_json(),
            "sections.csv": report.sections_csv(),
            "summary.csv": report.summary_csv(),
        }
        for name, text in texts.items():
            (begun / name).write_text(text, encoding="utf-8")
        draw(report).savefig(begun / "figure.png", format="png")
        begun.rename(folder)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    return report.at(folder)
