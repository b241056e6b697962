"""What an evaluation comes to, in a sentence: whether the model beats something trivial.

Trivial methods are fitted to the very section that they are judged on, so that they know its
intensities, which no model does: r, which is about where particles are, is compared first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from napari_damm.evaluation.report import NO_MODEL, Report

GATED = "gated"
TOO_FEW = 80
"""Per cent of the truth below which nominal 90 % intervals do not hold."""
LIKE = {"ssim": "SSIM", "psnr": "PSNR"}
"""Scores that are about intensities too; more is better."""


def in_words(report: Report) -> Iterator[str]:
    """Yield a sentence for each model, where its scores and a trivial method's are there.

    And another where its intervals do not hold.
    """
    means = {(line.model, line.branch, line.measure): line.mean for line in report.summary}
    trivial = list(dict.fromkeys(line.branch for line in report.summary if line.model == NO_MODEL))
    for card in report.models:
        name = str(card["name"])
        own = means.get((name, GATED, "pearson_r"))
        others = {
            method: found
            for method in trivial
            if (found := means.get((NO_MODEL, method, "pearson_r"))) is not None
        }
        if own is None or not others:
            continue
        best = max(others, key=lambda method: others[method])
        how = "better" if own > others[best] else "no better"
        said = (
            f"{name} places particles {how} than the best trivial method: r {own:.3f}, {best} "
            f"{others[best]:.3f}"
        )
        yield f"{said}{_intensities(means, name, trivial)}"
        held = means.get((name, GATED, "coverage"))
        if held is not None and held < TOO_FEW:
            yield (
                f"{name}'s nominal 90 % intervals held only {held:.0f} % of the truth: do not use "
                "them for such sections, or calibrate it on others like these"
            )


def _intensities(
    means: Mapping[tuple[str, str, str], float | None], name: str, trivial: list[str]
) -> str:
    """Say in which scores that are about intensities a trivial method is better."""
    behind = []
    for measure, title in LIKE.items():
        own = means.get((name, GATED, measure))
        others = [means.get((NO_MODEL, method, measure)) for method in trivial]
        best = max((each for each in others if each is not None), default=None)
        if own is not None and best is not None and own < best:
            behind.append(title)
    if not behind:
        return ""
    return (
        f"; in {' and '.join(behind)} a trivial method is better, which was fitted to the "
        "intensities of this very section"
    )
