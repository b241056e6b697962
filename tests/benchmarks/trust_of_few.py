"""What does a model say that was fine-tuned on one to four sections? Real fields, and nonsense.

What a model knows of its images hangs on these alone, not on its weights: so nothing is trained. Of
sets of one to four dextran fields it is computed what `train` would write on the card, with a base
model that knows its own images, and with one that does not, and then:

1. the verdict on the fields that it was trained on, and on the others: all are good;
2. how much of each kind of nonsense (`trust`), made of all fields, is flagged.

Nothing is judged where the pictures are not there.

    python tests/benchmarks/trust_of_few.py [--model FILE] [--sets 14] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from real_pictures import resampled
from real_tracer import ALL_FIELDS, DEXTRAN_UM, REAL
from report import print_table, write_json
from trust import Made, nonsense

from napari_damm import api
from napari_damm.slide import normalise, slide_from_arrays
from napari_damm.slide.normalisation import PERCENTILES
from napari_damm.trust.known import Known
from napari_damm.trust.section import section_statistics
from napari_damm.trust.verdict import USE, VERDICTS, verdict_of
from napari_damm.util.tiling import WINDOW

MOST_SECTIONS = 4
APART, LEARNT_APART = WINDOW // 2, WINDOW // 8
"""Of windows that a verdict looks at; and of places where small sections train."""
Statistics = NDArray[np.float64]


def fields() -> Iterator[tuple[str, Made]]:
    """Yield the name of each field, and its vessels, nuclei and pixel size."""
    for name in ALL_FIELDS:
        picture = np.asarray(Image.open(REAL / "dextran" / f"{name}.jpg"))
        yield name, (picture[..., 0], picture[..., 2], DEXTRAN_UM)


def statistics_of(made: Made, apart: int = APART) -> Statistics:
    """Return the statistics (n, statistics) of windows all over two images, at 1 um."""
    slide = slide_from_arrays({"vessels": made[0], "nuclei": made[1]}, made[2])
    images = []
    for raster in (slide.vessels, slide.nuclei):
        image = resampled(slide, raster, 1.0)
        low, high = (float(value) for value in np.percentile(image, PERCENTILES))
        images.append(normalise(image, low, max(high, low + 1.0)))
    places = (range(0, max(length - WINDOW, 0) + 1, apart) for length in images[0].shape)
    return section_statistics(
        [
            (images[0][y : y + WINDOW, x : x + WINDOW], images[1][y : y + WINDOW, x : x + WINDOW])
            for y, x in itertools.product(*places)
        ]
    )


def made_nonsense(pictures: dict[str, Made]) -> dict[str, list[Statistics]]:
    """Return the statistics of each kind of nonsense, made of every field."""
    rng = np.random.default_rng(0)
    found: dict[str, list[Statistics]] = {}
    names = list(pictures)
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        vessels, nuclei, um = pictures[name]
        foreign = np.resize(pictures[other][1], vessels.shape)
        for kind, (first, second, claimed) in nonsense(vessels, nuclei, foreign, rng):
            found.setdefault(kind, []).append(statistics_of((first, second, um * claimed)))
    return found


def verdict(known: Known, rows: Statistics) -> str:
    """Return the verdict on a section."""
    return verdict_of(known.sections.familiarity(rows.mean(axis=0)))


def shares(verdicts: Sequence[str]) -> str:
    """Say how many of a hundred each verdict is."""
    return " / ".join(f"{100 * verdicts.count(each) / len(verdicts):.0f}" for each in VERDICTS)


def main() -> None:
    """Judge fields and nonsense by what models of few fields know, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="the base; left out: the bundled model")
    parser.add_argument("--sets", type=int, default=14, help="of each number of fields, at most")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if not (REAL / "dextran").is_dir():
        print(f"no real pictures at {REAL}: nothing is judged")
        return
    base = Known.of_card(api.load_model(asked.model).card)
    pictures = dict(fields())
    good = {name: statistics_of(made) for name, made in pictures.items()}
    learnt = {name: statistics_of(made, LEARNT_APART) for name, made in pictures.items()}
    bad = made_nonsense(pictures)
    found = {}
    for label, known_base in (("a base that knows its images", base), ("no such base", None)):
        rows = []
        for count in range(1, MOST_SECTIONS + 1):
            sets = np.random.default_rng(0).permutation(
                list(itertools.combinations(ALL_FIELDS, count))
            )
            own, others = [], []
            caught: dict[str, list[bool]] = {kind: [] for kind in bad}
            for chosen in sets[: asked.sets]:
                known = Known.fit([learnt[name] for name in chosen], "", known_base)
                for name, statistics in good.items():
                    (own if name in chosen else others).append(verdict(known, statistics))
                for kind, made in bad.items():
                    caught[kind] += [verdict(known, each) != USE for each in made]
            missed = {kind: 100 * np.mean(each) for kind, each in caught.items() if not all(each)}
            said = ", ".join(f"{kind} {share:.0f} %" for kind, share in missed.items())
            rows.append([str(count), shares(own), shares(others), said or "-"])
        print_table(
            f"trained on few sections, {label} ({' / '.join(VERDICTS)}, in %)",
            ["sections", "themselves", "the other fields", "nonsense flagged, but for all of it"],
            rows,
        )
        found[label] = rows
    write_json(asked.json, vars(asked), found=found)


if __name__ == "__main__":
    main()
