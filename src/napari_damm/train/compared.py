"""Whether a trained model is better than its base: by place (r), and in looks (SSIM).

A short training may gain much of one and nothing of the other: then both are said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCORES = {"r": "r", "ssim": "SSIM"}


@dataclass(frozen=True)
class Compared:
    """The scores, as people write them, in which a model is better than its base, and is not."""

    better: tuple[str, ...]
    not_better: tuple[str, ...]

    @classmethod
    def of(cls, scores: Mapping[str, float], base: Mapping[str, float]) -> Compared:
        """Compare what both have; a score that is no number is not better."""
        both = [name for name in SCORES if name in scores and name in base]
        better = [name for name in both if scores[name] > base[name]]
        worse = [name for name in both if name not in better]
        return cls(*(tuple(SCORES[name] for name in names) for names in (better, worse)))

    @property
    def in_nothing(self) -> bool:
        """Whether there is a base, and the model is better in none of them."""
        return bool(self.not_better) and not self.better

    @property
    def said_of_some(self) -> str:
        """What is to be said where it is better in one and not in the other, else ""."""
        if not self.better or not self.not_better:
            return ""
        return f"in {' and '.join(self.better)}, not in {' and '.join(self.not_better)}"
