"""Groups: animals are the units, and no test without them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from particle_maps import nuclei, straight_vessel, write_picture
from scipy import stats

from napari_damm import cli
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.group_table import read_groups
from napari_damm.analysis.groups import compare_groups, hedges_g, hedges_interval, least_p_notes
from napari_damm.analysis.mixed import mixed_effect
from napari_damm.analysis.report import MeasureRow
from napari_damm.analysis.run import analyze
from napari_damm.cli.analyze import _groups


def rows(values, measure="l50"):
    """Return rows of (animal, group, value)."""
    return [
        MeasureRow(
            f"s{k}", animal, group, "tissue", measure, value, "um", None, None, None, 1, None
        )
        for k, (animal, group, value) in enumerate(values)
    ]


CONTROL = [("a", "control", 30.0), ("a", "control", 34.0), ("b", "control", 28.0),
           ("c", "control", 35.0)]  # fmt: skip
TREATED = [("d", "treated", 40.0), ("e", "treated", 47.0), ("f", "treated", 45.0)]


def test_the_unit_is_the_animal_not_the_section():
    (found,) = compare_groups(rows(CONTROL + TREATED), "welch")
    control, treated = [32.0, 28.0, 35.0], [40.0, 47.0, 45.0]
    expected = stats.ttest_ind(control, treated, equal_var=False)
    assert found.animals == (3, 3)
    assert found.difference == pytest.approx(sum(control) / 3 - sum(treated) / 3)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.test == "Welch's t test, two-sided"


def test_mann_whitney_is_exact_for_few_animals():
    (found,) = compare_groups(rows(CONTROL + TREATED), "mann-whitney")
    assert found.p == pytest.approx(2 / 20)  # of 20 orders of 3 + 3, two are as extreme
    assert found.test == "Mann-Whitney U test, two-sided"


def test_what_mann_whitney_cannot_show_is_said():
    far = [("x", "a", 1.0), ("y", "a", 2.0), ("z", "a", 3.0)]
    more = [("u", "b", 91.0), ("v", "b", 92.0), ("w", "b", 93.0)]
    (found,) = compare_groups(rows(far + more), "mann-whitney")
    assert found.p == pytest.approx(0.1)
    (said,) = least_p_notes([found, found])
    assert "With 3 against 3 animals" in said
    assert "below 0.1," in said
    assert not list(least_p_notes(compare_groups(rows(far + more), "welch")))
    four = compare_groups(rows([*far, ("t", "a", 4.0), *more, ("s", "b", 94.0)]), "mann-whitney")
    assert four[0].p < 0.05
    assert not list(least_p_notes(four))


def test_one_refusal_for_all_measures_is_said_once():
    values = CONTROL[1:] + TREATED
    alone = compare_groups(rows(values) + rows(values, "auc_100"), "mixed")
    lines = list(_groups(alone))
    assert [("needs more" in line) for line in lines] == [True, False, False]
    one = compare_groups(rows(values[2:]) + rows(values, "auc_100"), "welch")
    assert sum("one animal" in line for line in _groups(one)) == 1
    assert sum("p = " in line for line in _groups(one)) == 1


def test_a_group_of_one_animal_has_no_p_value_and_says_so():
    (found,) = compare_groups(rows(CONTROL + TREATED[:1]), "welch")
    assert found.p is None
    assert found.low is None
    assert found.reason == "group 'treated' has one animal with this measure: no test can be made"


def test_hedges_g_by_hand():
    # Means 1 and 3, both variances 1: d = -2, times 1 - 3 / (4 * 4 - 1).
    assert hedges_g_of([0, 1, 2], [2, 3, 4]) == pytest.approx(-2 * (1 - 3 / 15))


def hedges_g_of(a, b):
    import numpy as np

    return hedges_g(np.array(a, float), np.array(b, float))


@pytest.mark.parametrize(("g", "n_a", "n_b"), [(1.0, 5, 8), (2.0, 3, 3), (-0.4, 6, 4)])
def test_the_interval_of_hedges_g_is_that_of_the_non_central_t(g, n_a, n_b):
    degrees, unit = n_a + n_b - 2, np.sqrt(1 / n_a + 1 / n_b)
    scale = unit * (1 - 3 / (4 * degrees - 1))
    low, high = (end / scale for end in hedges_interval(g, n_a, n_b))
    ends = [stats.nct.cdf(g / scale, degrees, centre) for centre in (low, high)]
    assert ends == pytest.approx([0.975, 0.025], abs=1e-4)


def test_the_interval_of_no_difference_is_symmetric_and_that_of_a_huge_one_is_a_number():
    low, high = hedges_interval(0.0, 3, 3)
    assert low == pytest.approx(-high)
    assert 0 < hedges_interval(1e6, 3, 3)[0] < 1e6 < hedges_interval(1e6, 3, 3)[1]


def test_p_is_corrected_for_the_number_of_measures():
    both = rows(CONTROL + TREATED) + rows(CONTROL + TREATED, "cv")
    found = compare_groups(both, "mann-whitney")
    assert [c.p for c in found] == pytest.approx([0.1, 0.1])
    assert [c.p_holm for c in found] == pytest.approx([0.2, 0.2])


def test_a_table_says_which_animal_and_group_a_file_is_of(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("File,Animal,Group\nsome/where/a.ome.zarr,m1,control\nb.tif,m2,treated\n\n")
    members = read_groups(table)
    assert members["a.ome.zarr"].animal == "m1"
    assert members["b.tif"].group == "treated"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,group\na,b\n", "lacks the column 'animal'"),
        ("file,animal,group\n", "names no file"),
        ("file,animal,group\na.tif,m1,\n", "line 2 of .* lacks a file, an animal or a group"),
        ("file,animal,group\na.tif,m1,x\na.tif,m1,x\n", "names the file 'a.tif' twice"),
        ("file,animal,group\na.tif,m1,x\nb.tif,m1,y\n", "puts animal 'm1' into two groups"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_sentence(tmp_path, text, words):
    table = tmp_path / "groups.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_groups(table)


def test_a_table_is_bounded_and_a_file(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("file,animal,group\n" + "a" * 200_000)
    with pytest.raises(ValueError, match="is not a CSV table"):
        read_groups(path)
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="is larger than 16 MB"):
        read_groups(path)
    with pytest.raises(OSError, match="not a regular file"):
        read_groups("/dev/null")


def balanced(animals, sections, rng, effect):
    """Values of sections of a, b, c, ... with an effect of the animal and one of the section."""
    return {
        str(k): list(effect + rng.normal(0, 3) + rng.normal(0, 1, sections)) for k in range(animals)
    }


def test_a_mixed_model_of_equal_numbers_of_sections_is_a_t_test_of_the_animals():
    # of equally many sections per animal REML gives the means of animals and their spread
    rng = np.random.default_rng(1)
    a, b = balanced(4, 5, rng, 10.0), balanced(5, 5, rng, 4.0)
    found = mixed_effect(a, b)
    means = [[np.mean(values) for values in group.values()] for group in (a, b)]
    expected = stats.ttest_ind(*means, equal_var=True)
    interval = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(means[0]) - np.mean(means[1]), rel=1e-6)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-3)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-3)


def test_a_mixed_model_names_its_sections_and_needs_several_of_an_animal():
    values = [*CONTROL, *TREATED, ("d", "treated", 43.0)]
    (found,) = compare_groups(rows(values), "mixed")
    assert found.animals == (3, 3)
    assert found.test.endswith("random effect (4 and 4 sections)")
    assert found.low < found.difference < found.high < 0
    assert 0 < found.p < 0.05
    (alone,) = compare_groups(rows(CONTROL[1:] + TREATED), "mixed")
    assert alone.p is None
    assert alone.reason == "every animal has one section: a mixed model needs more, use welch"


def test_without_statsmodels_a_mixed_model_is_refused_before_anything_is_opened(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.regression.mixed_linear_model", None)
    with pytest.raises(ValueError, match=r"pip install .*napari-damm\[groups\]"):
        next(analyze("nowhere.ome.zarr", AnalyzeConfig(test="mixed"), groups={"x": ("a", "b")}))


@pytest.fixture
def pictures(tmp_path):
    """Three small sections with imaged particles, as the command's arguments."""
    files = []
    for k, length in enumerate((20.0, 26.0, 34.0)):
        signal, vessels = straight_vessel((300, 300), (45, 56), length)
        images = [vessels, nuclei()[:300, :300], signal]
        files.append(write_picture(tmp_path / f"s{k}.ome.tif", images))
    return [*map(str, files), "--vessel-threshold", "0.5"]


@pytest.mark.parametrize(
    ("animals", "code", "said"),
    [
        ("abc", 2, "every animal has one section, and a mixed model needs several of one: give "
         "more sections, or another --test, such as welch"),
        ("aab", 1, "finished, but the groups could not be compared by --test mixed: group 'x' has "
         "one animal"),
    ],
)  # fmt: skip
def test_a_mixed_model_that_cannot_be_made_is_no_success(
    pictures, tmp_path, capsys, animals, code, said
):
    table, out = tmp_path / "groups.csv", tmp_path / "numbers"
    groups = {"a": "x", "b": "y", "c": "y"}
    rows = [f"s{k}.ome.tif,{animal},{groups[animal]}" for k, animal in enumerate(animals)]
    table.write_text("\n".join(["file,animal,group", *rows]))
    given = ["analyze", *pictures, "--groups", str(table), "--out", str(out)]
    assert cli.main([*given, "--test", "mixed"]) == code
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert out.exists() == (code == 1)  # refused before anything is measured, or kept whole


def test_a_difference_without_a_test_that_nobody_chose_is_an_answer(pictures, tmp_path):
    table, out = tmp_path / "groups.csv", tmp_path / "numbers"
    table.write_text("file,animal,group\ns0.ome.tif,a,x\ns1.ome.tif,a,x\ns2.ome.tif,b,y\n")
    given = ["analyze", *pictures, "--groups", str(table), "--out", str(out)]
    assert cli.main(given) == 0
