"""A linear mixed model: two groups compared section by section, the animal a random effect.

1. value = mean of the group + that of the animal + the section's own; fitted by restricted
   maximum likelihood (statsmodels).
2. An animal that has many sections counts for more than one that has few, but never for as many
   animals. Interval and p are of Student's t with (animals - 2) degrees of freedom, since the
   groups differ between animals: with few of them a normal distribution promises too much.

Source: Pinheiro and Bates, Mixed-Effects Models in S and S-PLUS (2000), chapters 1 and 2.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
INSTALL = 'a mixed model needs statsmodels: pip install "napari-damm[groups]", or choose welch'
Sections = Mapping[str, Sequence[float]]
"""The values of each animal's sections."""


class Effect(NamedTuple):
    """The difference of two groups, with its interval and p; or `reason`, why there is none."""

    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p: float = 1.0
    reason: str = ""


def check_installed() -> None:
    """Refuse to begin what cannot end.

    Raises
    ------
    ValueError
        If statsmodels is not installed.
    """
    _model()


def mixed_effect(a: Sections, b: Sections) -> Effect:
    """Return how much group `a` is above group `b`: each two animals or more, in their unit.

    Raises
    ------
    ValueError
        If statsmodels is not installed.
    """
    model = _model()
    if all(len(values) == 1 for group in (a, b) for values in group.values()):
        return Effect(reason="every animal has one section: a mixed model needs more, use welch")
    rows = [
        (value, group == 0, (group, animal))
        for group, animals in enumerate((a, b))
        for animal, values in animals.items()
        for value in values
    ]
    values = np.array([value for value, _, _ in rows])
    spread = float(values.std())
    if spread == 0:
        return Effect(reason="all sections are alike: no test can be made")
    names = list(dict.fromkeys(animal for _, _, animal in rows))
    columns = np.array([(1.0, float(first)) for _, first, _ in rows])
    with warnings.catch_warnings():
        # an animal's share of the variance may be 0: that is an answer
        warnings.simplefilter("ignore")
        fitted = model(
            (values - values.mean()) / spread,
            columns,
            groups=np.array([names.index(animal) for _, _, animal in rows]),
        ).fit(reml=True)
    difference, error = float(fitted.fe_params[1]), float(fitted.bse_fe[1])
    if not fitted.converged or not np.isfinite(error) or error <= 0:
        return Effect(reason="the mixed model found no answer: use welch")
    degrees = len(names) - 2
    reach = float(stats.t.ppf((1 + LEVEL) / 2, degrees)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, degrees))
    low, high = difference - reach, difference + reach
    return Effect(difference * spread, low * spread, high * spread, p)


def _model() -> Any:
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM
    except ImportError as error:
        raise ValueError(INSTALL) from error
    return MixedLM
