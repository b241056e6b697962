"""How much wider intervals must be that were fitted to windows of few sections.

Windows of one section are alike: they do not tell how far another section is off. So the factor
that a section needs is taken to vary between sections, log-normally; how much is partly known
beforehand (`SPREAD`, which counts as `COUNTS_AS` sections), partly seen. The factor is the one with
which, averaged over what another section may need (Student's t, the predictive distribution of a
normal one with a scaled inverse chi-squared prior; Gelman et al., Bayesian Data Analysis, section
3.3), 90 % of the truth lies inside.

Of real fields the needed factors spread by 0.06 to 0.35, the standard deviation of their logarithm
for four models (`tests/benchmarks/calibrated_fields.py`, by which 0.2 was chosen, too).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from napari_damm.trust.widths import LEVEL, Vector

SPREAD, COUNTS_AS = 0.2, 3
DRAWS = 200
LEAST = 1e-9


def factor_of_few(off: Sequence[Vector]) -> float:
    """Return the factor of intervals from errors of sections, each in half widths (n,)."""
    from scipy import stats  # only where intervals are fitted: it is large

    needed = np.log([max(float(np.quantile(each, LEVEL)), LEAST) for each in off])
    count = len(off)
    mean = float(needed.mean())
    seen = float(((needed - mean) ** 2).sum())
    freedom = COUNTS_AS + count - 1
    spread = math.sqrt((COUNTS_AS * SPREAD**2 + seen) / freedom * (1 + 1 / count))
    shares = (np.arange(DRAWS) + 0.5) / DRAWS
    others = np.exp(mean + spread * stats.t.ppf(shares, freedom))
    alike = [each / math.exp(n) for each, n in zip(off, needed, strict=True)]
    relative = np.sort(np.concatenate(alike))
    low, high = 0.0, float(relative[-1] * others[-1]) + LEAST
    for _ in range(60):
        middle = (low + high) / 2
        held = np.searchsorted(relative, middle / others, side="right").mean() / relative.size
        low, high = (middle, high) if held < LEVEL else (low, middle)
    return high
