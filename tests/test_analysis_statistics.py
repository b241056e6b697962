"""Statistics of groups against scipy and statsmodels, called here on the same numbers."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from scipy import stats
from statsmodels.formula.api import mixedlm
from statsmodels.stats.multitest import multipletests

from napari_damm.analysis.figures import draw_groups
from napari_damm.analysis.groups import compare_groups
from napari_damm.analysis.report import AnalysisReport, MeasureRow

REGION = "tissue"


def made(seed=0, groups=("control", "treated", "high"), sections=(1, 5)):
    """A table of sections: animals of their own level, unequal numbers of sections and animals."""
    rng = np.random.default_rng(seed)
    lines = []
    for k, group in enumerate(groups):
        for animal in range(4 + k):
            level = 20 + 6 * k + rng.normal(0, 3)
            for _ in range(rng.integers(*sections, endpoint=True)):
                lines.append((f"{group}{animal}", group, level + rng.normal(0, 1.5)))
    return pandas.DataFrame(lines, columns=["animal", "group", "value"])


def rows(table, measure="l50", factor=1.0):
    return [
        MeasureRow(
            f"s{k}", line.animal, line.group, REGION, measure, factor * line.value, "um", None,
            None, None, 1, None,
        )
        for k, line in enumerate(table.itertuples())
    ]  # fmt: skip


def animals(table, group):
    """The mean of each animal's sections."""
    return table[table.group == group].groupby("animal").value.mean().to_numpy()


def pairs(table, test):
    found = compare_groups(rows(table), test)
    assert len(found) == 3  # every pair of three groups
    for each in found:
        yield each, animals(table, each.group_a), animals(table, each.group_b)


def test_mann_whitney_is_scipy_s_of_animals():
    for found, a, b in pairs(made(), "mann-whitney"):
        assert found.p == stats.mannwhitneyu(a, b, alternative="two-sided").pvalue
        assert found.animals == (a.size, b.size)


def test_welch_is_scipy_s_of_animals():
    for found, a, b in pairs(made(1), "welch"):
        expected = stats.ttest_ind(a, b, equal_var=False)
        interval = expected.confidence_interval(0.95)
        assert found.p == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
        assert (found.mean_a, found.mean_b) == pytest.approx((a.mean(), b.mean()))


def test_effect_size_is_the_difference_in_pooled_standard_deviations():
    for found, a, b in pairs(made(2), "welch"):
        n = a.size + b.size - 2
        pooled = np.sqrt((((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / n)
        assert found.hedges_g == pytest.approx(
            (a.mean() - b.mean()) / pooled * (1 - 3 / (4 * n - 1))
        )
        assert found.g_low < found.hedges_g < found.g_high


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_mixed_model_is_that_of_statsmodels_on_sections_nested_in_animals(seed):
    table = made(seed, groups=("control", "treated"))
    (found,) = compare_groups(rows(table), "mixed")
    fitted = mixedlm("value ~ C(group, Treatment('treated'))", table, groups="animal").fit()
    difference, error = fitted.fe_params.iloc[1], fitted.bse_fe.iloc[1]
    degrees = table.animal.nunique() - 2
    assert found.difference == pytest.approx(difference, rel=1e-3)
    interval = stats.t.interval(0.95, degrees, difference, error)
    assert (found.low, found.high) == pytest.approx(interval, rel=1e-3, abs=1e-2)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(difference / error), degrees), rel=2e-2)
    sections = [int((table.group == group).sum()) for group in ("control", "treated")]
    assert found.test.endswith(f"({sections[0]} and {sections[1]} sections)")


@pytest.mark.parametrize("factor", [1e-6, 1e9])
def test_a_mixed_model_does_not_depend_on_the_unit(factor):
    table = made(6, groups=("control", "treated"))
    (plain,) = compare_groups(rows(table), "mixed")
    (found,) = compare_groups(rows(table, factor=factor), "mixed")
    assert found.p == pytest.approx(plain.p, rel=1e-3)
    assert found.difference == pytest.approx(factor * plain.difference, rel=1e-4)


def test_p_is_corrected_over_measures_and_pairs_by_holm():
    table = made(7)
    found = compare_groups([*rows(table), *rows(made(8), "cv")], "welch")
    corrected = multipletests([each.p for each in found], method="holm")[1]
    assert [each.p_holm for each in found] == pytest.approx(list(corrected))


def test_the_figure_of_a_measure_has_every_animal_and_a_title_that_fits():
    table = made(9, groups=("control", "treated"))
    found = tuple(compare_groups(rows(table), "mixed"))
    report = AnalysisReport({}, (), tuple(rows(table)), (), comparisons=found)
    figure = draw_groups(report, "l50")
    (ax,) = figure.axes
    shown = [line.get_ydata() for line in ax.lines if line.get_marker() == "o"]
    for values, group in zip(shown, ("control", "treated"), strict=True):
        assert sorted(values) == pytest.approx(sorted(animals(table, group)))
    figure.canvas.draw()
    title = ax.title.get_window_extent()
    assert 0 <= title.x0 < title.x1 <= figure.bbox.x1
    assert title.y1 <= figure.bbox.y1
    assert f"p = {found[0].p:.3g}" in ax.title.get_text()
