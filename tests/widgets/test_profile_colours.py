"""A measured profile keeps its colour, whatever else is drawn."""

from __future__ import annotations

from napari_damm.widgets.analyze.results import COLOURS, PREVIEW_COLOUR, ProfilePlot

LINE = ([0.0, 1.0], [2.0, 1.0])


def colours(plot: ProfilePlot) -> dict[str, str]:
    return {item.name(): item.opts["pen"].color().name() for item in plot._axes.listDataItems()}


def test_a_preview_leaves_the_colours_of_the_others(qtbot):
    plot = ProfilePlot()
    qtbot.addWidget(plot)
    measured = {"all": LINE, "core": LINE}
    plot.draw(measured)
    assert colours(plot) == {"all": COLOURS[0], "core": COLOURS[1]}
    plot.draw({"preview, coarse": LINE, **measured})
    assert colours(plot) == {"preview, coarse": PREVIEW_COLOUR, "all": COLOURS[0],
                             "core": COLOURS[1]}  # fmt: skip
