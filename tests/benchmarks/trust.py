"""Is nonsense caught? Sections that no model should be trusted on, against good ones.

Held-out simulated sections of all presets are good. Each kind of nonsense is made of them, or is a
picture that scikit-image ships. Of the section-level verdict of a model file (see fit_trust.py):

1. how often good sections are called unusual (wanted: at most 5 %);
2. by kind, AUROC of the familiarity against the good ones (wanted: 0.95), and how often it is
   flagged, with the commonest reason.

    python tests/benchmarks/trust.py --model FILE [--sections 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fit_trust import SIZE
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from napari_damm.engine.planning import plan
from napari_damm.model_file import read_card
from napari_damm.simulate import simulate_slide
from napari_damm.slide import Slide, slide_from_arrays
from napari_damm.trust.section import assess
from napari_damm.trust.verdict import USE, Assessment

Array = NDArray[np.generic]
Made = tuple[Array, Array, float]
FIRST_SEED = 10_500
REAL = Path(__file__).parents[2].parent / "shared" / "real" / "dextran"
PRESETS = ("internal", "external", "varied")
PHOTOGRAPHS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass"),
    *("gravel", "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket"),
    "text",
)


def nonsense(
    vessels: Array, nuclei: Array, other: Array, rng: np.random.Generator
) -> Iterator[tuple[str, Made]]:
    """Yield every kind: its name, the two images, and the pixel size that is claimed."""
    noise = [rng.normal(1000, 100, vessels.shape) for _ in range(2)]
    yield "white noise", (noise[0], noise[1], 1.0)
    yield "noise of the right spectrum", (shuffled(vessels, rng), shuffled(nuclei, rng), 1.0)
    yield "swapped channels", (nuclei, vessels, 1.0)
    yield "vessels twice", (vessels, vessels, 1.0)
    yield "nuclei twice", (nuclei, nuclei, 1.0)
    for factor, name in ((2.0, "2x"), (0.5, "1/2"), (3.0, "3x"), (1 / 3, "1/3")):
        yield f"pixel size off {name}", (vessels, nuclei, factor)
    yield "constant nuclei", (vessels, rng.poisson(200, nuclei.shape), 1.0)
    yield "blank nuclei", (vessels, 200 + (rng.random(nuclei.shape) < 0.002), 1.0)
    yield "nuclei shifted by 30 um", (vessels, np.roll(nuclei, 30, 0), 1.0)
    yield "nuclei of another section", (vessels, other, 1.0)
    yield "JPEG quality 10", (jpeg(vessels), jpeg(nuclei), 1.0)
    yield "saturated on 10 %", (clipped(vessels), clipped(nuclei), 1.0)
    yield "nuclei saturated on 10 %", (vessels, clipped(nuclei), 1.0)


def shuffled(image: Array, rng: np.random.Generator) -> Array:
    """Return noise of an image's power spectrum."""
    size = np.abs(np.fft.rfft2(image - image.mean(dtype=float)))
    phase = np.angle(np.fft.rfft2(rng.standard_normal(image.shape)))
    noise = np.fft.irfft2(size * np.exp(1j * phase), image.shape)
    return np.asarray(noise - noise.min())


def jpeg(image: Array, quality: int = 10) -> Array:
    """Return an image as 8-bit JPEG gives it back."""
    low, high = np.percentile(image, (0.1, 99.9))
    grey = np.clip((image - low) * 255.0 / (high - low), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def clipped(image: Array, share: float = 0.1) -> Array:
    """Return an image that is saturated on a share of its pixels."""
    return np.minimum(image, np.percentile(image, 100 * (1 - share)))


def photographs() -> Iterator[Made]:
    """Yield two colours of each picture, or a grey one and itself upside down."""
    for name in PHOTOGRAPHS:
        picture = np.asarray(getattr(data, name)(), np.float32)
        colour = picture.ndim == 3
        second = picture[..., 2] if colour else picture[::-1]
        yield (picture[..., 0] if colour else picture), second, 1.0


def real_fields() -> Iterator[Made]:
    """Yield real fields (red vessels, blue nuclei, 0.69 um), where the pictures are."""
    if not REAL.is_dir():
        print(f"no real pictures at {REAL}: left out")
    for path in sorted(REAL.glob("*.jpg")):
        picture = np.asarray(Image.open(path))
        yield picture[..., 0], picture[..., 2], 0.69


def judge(made: Made, card: dict[str, object]) -> Assessment:
    """Return the verdict on two images."""
    slide: Slide = slide_from_arrays({"vessels": made[0], "nuclei": made[1]}, made[2])
    try:
        planned = plan(slide, card)
    except ValueError as error:  # nothing but one value: Predict refuses it
        return Assessment("refused", 0.0, (str(error),))
    windows = planned.inner or planned.windows
    found = assess(slide, card, planned.model_um, planned.normalisation, windows)
    assert found is not None, "the model says nothing of images that it knows: run fit_trust.py"
    return found


def auroc(good: list[float], bad: list[float]) -> float:
    """Return how often a bad section is less familiar than a good one."""
    g, b = np.array(good)[:, None], np.array(bad)
    return float((b < g).mean() + 0.5 * (b == g).mean())


def run(card: dict[str, object], count: int) -> tuple[dict[str, list[Assessment]], ...]:
    """Return the verdicts on good sections by preset, and on nonsense by kind."""
    good: dict[str, list[Assessment]] = {}
    bad: dict[str, list[Assessment]] = {}
    rng = np.random.default_rng(0)
    for preset in PRESETS:
        before = simulate_slide(SIZE, FIRST_SEED + count, preset).nuclei
        for seed in range(FIRST_SEED, FIRST_SEED + count):
            drawn = simulate_slide(SIZE, seed, preset)
            good.setdefault(preset, []).append(judge((drawn.vessels, drawn.nuclei, 1.0), card))
            for kind, made in nonsense(drawn.vessels, drawn.nuclei, before, rng):
                bad.setdefault(kind, []).append(judge(made, card))
            before = drawn.nuclei
    bad["photographs"] = [judge(made, card) for made in photographs()]
    real = [judge(made, card) for made in real_fields()]
    if real:
        bad["real fields, no fine-tuning"] = real
    return good, bad


def table(good: dict[str, list[Assessment]], bad: dict[str, list[Assessment]]) -> Iterator[str]:
    """Yield the lines of the two tables."""
    yield "| good sections | n | false alarms | do not use |"
    yield "|---|---|---|---|"
    for preset, found in good.items():
        alarms = np.mean([each.verdict != USE for each in found])
        worst = np.mean([each.verdict == "do not use" for each in found])
        yield f"| {preset} | {len(found)} | {alarms:.1%} | {worst:.1%} |"
    usual = [each.familiarity for found in good.values() for each in found]
    yield ""
    yield "| nonsense | n | AUROC | flagged | do not use | commonest reason |"
    yield "|---|---|---|---|---|---|"
    for kind, found in bad.items():
        area = auroc(usual, [each.familiarity for each in found])
        flagged = np.mean([each.verdict != USE for each in found])
        worst = np.mean([each.verdict in ("do not use", "refused") for each in found])
        reasons = Counter(each.reasons[0] for each in found if each.reasons)
        said = reasons.most_common(1)[0][0] if reasons else ""
        yield f"| {kind} | {len(found)} | {area:.3f} | {flagged:.0%} | {worst:.0%} | {said} |"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sections", type=int, default=20, help="of each preset")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    card = read_card(arguments.model)
    good, bad = run(card, arguments.sections)
    print("\n".join(table(good, bad)))
    if arguments.json:
        plain = {
            name: [[each.verdict, each.familiarity, each.reasons] for each in found]
            for name, found in {**good, **bad}.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
