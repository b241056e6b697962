"""Tables and figures say names as they are, and nothing in a name acts."""

from __future__ import annotations

import csv
import io

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_damm.util.panels import without_formulas
from napari_damm.util.tables import csv_text


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_name_is_no_formula_for_a_spreadsheet(name):
    table = csv_text(["section", "value"], [[name, -1.5]])
    assert table.startswith(f"section,value\n'{name}") or f'"\'{name}"' in table
    assert "-1.5" in table


def test_other_cells_are_as_they_are():
    line = ["mouse 1=a", "", None, -2, 'a "b", c']
    (read,) = csv.reader(io.StringIO(csv_text(line, [])))
    assert csv_text(["x"], [line]).splitlines()[1].startswith("mouse 1=a,,,-2,")
    assert read[0] == "mouse 1=a"


def test_dollars_in_a_name_are_no_mathematics():
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.set_title(r"mouse $\frac{$ 1")
    ax.set_xticks([0, 1], [r"$\nothing$", "b"])
    ax.plot([0, 1], label=r"$\sqrt$")
    ax.legend()
    without_formulas(figure).savefig(io.BytesIO(), format="svg")
