"""Whether groups of animals differ.

1. A table says which section is of which animal (`group_table`).
2. The unit is the animal: the mean of its sections.
3. Two groups are compared by the difference of their means with Welch's 95 % interval, Hedges' g,
   and one named test. Of more groups, each pair. A group of one animal has no test.
   A mixed model (`mixed`) has the sections themselves, and a difference and interval of its own.
4. Of several measures some differ by chance: p is also given corrected for that (Holm 1979), over
   the measures and pairs of one region.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from napari_damm.analysis.config import TESTS
from napari_damm.analysis.group_table import Member
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.mixed import Sections, mixed_effect
from napari_damm.analysis.report import MeasureRow
from napari_damm.util.advice import Advice

LEVEL = 0.95
NODES, FARTHEST_SD = 400, 10.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Two groups compared in one measure of one region.

    `difference` is the mean of `group_a` minus that of `group_b`, in the measure's unit, with its
    95 % interval (Welch); `hedges_g` the same in standard deviations, from `g_low` to `g_high` with
    95 %. `animals` are the numbers (n_a, n_b). Without two animals in each there is no interval and
    no test: `reason` says so.
    """

    region: str
    measure: str
    unit: str
    group_a: str
    group_b: str
    animals: tuple[int, int]
    mean_a: float
    mean_b: float
    difference: float
    low: float | None = None
    high: float | None = None
    hedges_g: float | None = None
    g_low: float | None = None
    g_high: float | None = None
    test: str = ""
    p: float | None = None
    p_holm: float | None = None
    reason: str = ""


def check_animals(members: Sequence[Member], test: str) -> None:
    """Refuse a mixed model of animals that have one section each, before these are measured.

    Parameters
    ----------
    members
        Whose each section is; sections of no group do not count.
    test
        How groups are to be compared.

    Raises
    ------
    ValueError
        If so.
    """
    counted = Counter(member for member in members if member.group)
    if test == "mixed" and counted and max(counted.values()) == 1:
        raise ValueError(
            Advice(
                "every animal has one section, and a mixed model needs several of one",
                "give more sections, or another {test}, such as welch",
            )
        )


def by_animal(rows: Sequence[MeasureRow]) -> dict[tuple[str, str, str], dict[str, float]]:
    """Return the mean over its sections of each animal, by (region, measure, group), then animal.

    Sections that do not give a measure do not count.
    """
    return {key: _means(animals) for key, animals in _sections_by_animal(rows).items()}


def _sections_by_animal(
    rows: Sequence[MeasureRow],
) -> dict[tuple[str, str, str], dict[str, list[float]]]:
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row.group and row.value is not None:
            animals = values.setdefault((row.region, row.measure, row.group), {})
            animals.setdefault(row.animal, []).append(row.value)
    return values


def _means(animals: Sections) -> dict[str, float]:
    return {animal: float(np.mean(found)) for animal, found in animals.items()}


def compare_groups(rows: Sequence[MeasureRow], test: str) -> list[Comparison]:
    """Compare every pair of groups, in every measure and region that both have."""
    animals = _sections_by_animal(rows)
    groups = list(dict.fromkeys(row.group for row in rows if row.group))
    regions = list(dict.fromkeys(row.region for row in rows))
    found: list[Comparison] = []
    for region in regions:
        of_region = []
        for measure in MEASURES:
            for a, b in combinations(groups, 2):
                pair = [animals.get((region, measure, group), {}) for group in (a, b)]
                if all(pair):
                    of_region.append(_compare(region, measure, (a, b), (pair[0], pair[1]), test))
        found += _corrected(of_region)
    return found


def _compare(
    region: str,
    measure: str,
    groups: tuple[str, str],
    sections: tuple[Sections, Sections],
    test: str,
) -> Comparison:
    a, b = values = [np.array(list(_means(animals).values())) for animals in sections]
    plain = Comparison(
        region, measure, MEASURES[measure].unit, *groups, (a.size, b.size), float(a.mean()),
        float(b.mean()), float(a.mean() - b.mean()),
    )  # fmt: skip
    alone = [group for group, x in zip(groups, values, strict=True) if x.size < 2]
    if alone:
        reason = f"group {alone[0]!r} has one animal with this measure: no test can be made"
        return replace(plain, reason=reason)
    errors = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    if sum(errors) == 0:
        return replace(plain, reason="the animals of each group are alike: no test can be made")
    if test == "mixed":
        return _mixed(replace(plain, **_standardised(a, b)), sections)
    welch = stats.ttest_ind(a, b, equal_var=False)
    interval = welch.confidence_interval(LEVEL)
    if test == "welch":
        p = float(welch.pvalue)
    else:
        p = float(stats.mannwhitneyu(a, b, alternative="two-sided").pvalue)
    return replace(
        plain,
        low=float(interval.low),
        high=float(interval.high),
        test=TESTS[test],
        p=p,
        **_standardised(a, b),
    )


def least_p_notes(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Say of which numbers of animals Mann and Whitney's p is above 0.05 whatever they show."""
    tested = (c.animals for c in comparisons if c.test == TESTS["mann-whitney"])
    for a, b in dict.fromkeys(tested):
        least = 2 / comb(a + b, a)
        if least > 1 - LEVEL:
            yield (
                f"With {a} against {b} animals p of a Mann-Whitney test cannot be below "
                f"{least:.2g}, however far the groups differ (where all values differ): read "
                "the difference and its interval, or have more animals."
            )


def _mixed(plain: Comparison, sections: tuple[Sections, Sections]) -> Comparison:
    effect = mixed_effect(*sections)
    if effect.reason:
        return replace(plain, reason=effect.reason)
    counts = [sum(map(len, animals.values())) for animals in sections]
    return replace(
        plain,
        difference=effect.difference,
        low=effect.low,
        high=effect.high,
        test=f"{TESTS['mixed']} ({counts[0]} and {counts[1]} sections)",
        p=effect.p,
    )


def hedges_g(a: Floats, b: Floats) -> float | None:
    """Return the difference of means in pooled standard deviations, corrected for small n.

    Hedges 1981. None where nobody differs within their group.
    """
    degrees = a.size + b.size - 2
    pooled = ((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / degrees
    if pooled <= 0:
        return None
    return float((a.mean() - b.mean()) / np.sqrt(pooled) * _for_few(degrees))


def hedges_interval(g: float, n_a: int, n_b: int) -> tuple[float, float]:
    """Return the 95 % interval of Hedges' g of two groups of n animals.

    Exact for normal values of one spread: Student's t of the two has a non-central distribution,
    whose centres are sought for which the t that was found lies at either end (Steiger and
    Fouladi 1997, "Noncentrality interval estimation").
    """
    degrees, unit = n_a + n_b - 2, np.sqrt(1 / n_a + 1 / n_b)
    t = g / _for_few(degrees) / unit
    # That t is no more than it is: over the spreads that so few values may show, by Gauss-Legendre
    # (scipy's non-central t is NaN for some).
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    spreads = t * np.sqrt(stats.chi2.ppf((nodes + 1) / 2, degrees) / degrees)

    def centre(share: float) -> float:
        ends = spreads.min() - FARTHEST_SD, spreads.max() + FARTHEST_SD
        found = optimize.brentq(lambda c: weights @ stats.norm.cdf(spreads - c) / 2 - share, *ends)
        return float(found * unit * _for_few(degrees))

    return centre((1 + LEVEL) / 2), centre((1 - LEVEL) / 2)


def _for_few(degrees: int) -> float:
    """Return what makes the difference in standard deviations unbiased where animals are few."""
    return 1 - 3 / (4 * degrees - 1)


def _standardised(a: Floats, b: Floats) -> dict[str, Any]:
    """Return Hedges' g with its interval, as fields of a comparison."""
    g = hedges_g(a, b)
    low, high = (None, None) if g is None else hedges_interval(g, a.size, b.size)
    return {"hedges_g": g, "g_low": low, "g_high": high}


def _corrected(comparisons: Sequence[Comparison]) -> Iterator[Comparison]:
    """Yield comparisons with p corrected for their number, by Holm's method."""
    ordered = sorted((c.p, k) for k, c in enumerate(comparisons) if c.p is not None)
    corrected: dict[int, float] = {}
    highest = 0.0
    for rank, (p, k) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * p))
        corrected[k] = highest
    for k, comparison in enumerate(comparisons):
        yield replace(comparison, p_holm=corrected.get(k))
