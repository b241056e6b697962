"""What do position-keyed noise and blending buy? Seams of the nanoparticle map, measured.

Run: python tests/benchmarks/seam.py [--model FILE] [--size 2048] [--sections 1] [--mode fast]
         [--preset internal] [--json FILE]

Every section (reserved seeds, 10,000 and up) is sampled twice: with the engine's noise, a function
of absolute position ("keyed"), and with noise of its own for every window ("free"). The windows
become a map twice: blended by the engine's weights ("blend"), and cut in the middle of each
overlap, so that a pixel shows its nearest window alone ("cut"). All maps are float32. The true NP
image and the vessels, which know nothing of windows, are measured alike: that is what tissue alone
does to these numbers.

1. Where: windows are 256 px at a stride of 192. A border is a line where a window begins or ends
   inside the section, so 192 k and 192 k + 64 for k >= 1 on either axis (line p runs between pixels
   p - 1 and p). A cut is a line in the middle of an overlap, 192 k + 32. A band is what lies
   between two borders of one overlap.
2. Seam score: mean squared difference of the two pixels across a line, averaged over the tissue on
   the line, divided by the mean of that over all lines that are neither border nor cut; then the
   mean over lines. "blend" would show at borders, "cut" at cuts; both are given for all.
   "In phase" divides by those other lines alone that are multiples of the latent pixel, as borders
   and cuts are: a decoder that doubles pixels steps a little harder there, in the middle of a
   window as well, and that is no seam.
3. Variance ratio: mean squared deviation in bands divided by that elsewhere, in tissue; of the
   picture (from its mean) and of its fine part (picture minus its Gaussian blur of 3 px). Squares
   of 64 px tile bands and the rest exactly, and are what the mean is taken over.
   The outermost 8 px of the section, where a window ends and none takes over, count nowhere.
4. Intervals are 95 % bootstraps over lines or squares, every section normalised by itself. "of
   truth" divides by the true image's number at the same, equally redrawn lines or squares, so that
   what the tissue does there cancels.
5. Agreement: correlation of two windows' fine part where they overlap (blending two samples of
   correlation r lowers the variance, at most to (1 + r) / 2 in the middle of a band).

Target of keyed + blend: seam score 0.95..1.05 at borders, variance ratios within 5 % of 1. The
verdict is given for the scores as they are and for those in phase and of truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from windows import cut_windows, evaluation_section, machine, sample_windows

from napari_damm import api
from napari_damm.engine import noise, sampler
from napari_damm.engine.config import default_batch, default_samplers
from napari_damm.engine.planning import Plan, plan
from napari_damm.model.damm import DAMM
from napari_damm.simulate import EVALUATION_SEEDS_FROM
from napari_damm.slide import Slide, tissue_mask
from napari_damm.util.tiling import STRIDE, WINDOW, Box, Lattice, Window

BAND = WINDOW - STRIDE
FINE_PX = 3.0
DRAWS = 2000
TOLERANCE = 0.05
MARGIN_PX = 8
SEAMS = ("seam at borders", "seam at borders, in phase", "seam at cuts")
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Windows = Mapping[Window, Image]
Measures = dict[str, NDArray[np.float64]]


def free_noise(
    seed: int, y: int, x: int, shape: tuple[int, int, int], step: int, stream: int = 0
) -> NDArray[np.float32]:
    """Draw the noise of one window from a stream of its own."""
    return noise.window_noise(seed, y, x, shape, step, stream=1 + (y << 16) + x)


def nearest(lattice: Lattice, windows: Windows) -> Image:
    """Show every pixel as its nearest window has it."""
    height, width = lattice.shape
    rows = np.clip((np.arange(height) - BAND // 2) // STRIDE, 0, lattice.rows - 1)
    cols = np.clip((np.arange(width) - BAND // 2) // STRIDE, 0, lattice.cols - 1)
    image = np.zeros(lattice.shape, np.float32)
    for (i, j), values in windows.items():
        y, x = np.flatnonzero(rows == i), np.flatnonzero(cols == j)
        image[np.ix_(y, x)] = values[np.ix_(y - i * STRIDE, x - j * STRIDE)]
    return image


def fine_part(image: Image) -> Image:
    """Return the picture minus its blur."""
    return image - ndimage.gaussian_filter(image, FINE_PX)


def lines(lattice: Lattice, axis: int) -> tuple[list[int], list[int]]:
    """Return the borders and the cuts that cross an axis."""
    count, length = (lattice.rows, lattice.cols)[axis], lattice.shape[axis]
    starts = range(STRIDE, count * STRIDE, STRIDE)
    borders = [p for start in starts for p in (start, start + BAND) if p < length]
    return borders, [start + BAND // 2 for start in starts if start + BAND // 2 < length]


def line_scores(image: Image, tissue: Mask, lattice: Lattice, latent_px: int) -> Measures:
    """Energy of every border and cut over the mean energy of other lines, over both axes."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SEAMS}
    for axis in (0, 1):
        x, inside = (np.moveaxis(a, axis, 0) for a in (image, tissue))
        both = inside[1:] & inside[:-1]
        energy = np.square(np.diff(x.astype(np.float64), axis=0)).sum(axis=1, where=both)
        # energies[p] belongs to the line between pixels p - 1 and p
        energies = np.full(len(x), np.nan)
        np.divide(energy, both.sum(axis=1), out=energies[1:], where=both.any(axis=1))
        borders, cuts = lines(lattice, axis)
        others = np.setdiff1d(np.arange(len(x)), borders + cuts)
        in_phase = others[others % latent_px == 0]
        for name, which, rest in zip(
            SEAMS, (borders, borders, cuts), (others, in_phase, others), strict=True
        ):
            found[name].append(energies[which] / np.nanmean(energies[rest]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def band_scores(image: Image, tissue: Mask, lattice: Lattice) -> Measures:
    """Deviation in every square of the bands over the mean deviation elsewhere."""
    down, across = (length // BAND for length in lattice.shape)

    def squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = values[: down * BAND, : across * BAND].reshape(down, BAND, across, BAND)
        sums: NDArray[np.float64] = whole.sum(axis=(1, 3))
        return sums

    pixels = squares(tissue.astype(np.float64))
    in_band = [(np.arange(n) % (STRIDE // BAND) == 0) & (np.arange(n) > 0) for n in pixels.shape]
    band = in_band[0][:, None] | in_band[1][None, :]
    found = {}
    centred = image - image[tissue].mean()
    for name, part in (("variance", centred), ("fine variance", fine_part(image))):
        sums = squares(np.where(tissue, np.square(part.astype(np.float64)), 0.0))
        elsewhere = sums[~band].sum() / pixels[~band].sum()
        with np.errstate(invalid="ignore"):
            found[name] = (sums / pixels / elsewhere)[band]
    return found


def agreement(lattice: Lattice, windows: Windows) -> float:
    """Correlation of the fine part of neighbouring windows where they overlap."""
    fine = {window: fine_part(values) for window, values in windows.items()}
    here, there = [], []
    for (i, j), values in fine.items():
        for other in ((i, j + 1), (i + 1, j)):
            if other not in fine:
                continue
            mine, theirs = lattice.window_box(i, j), lattice.window_box(*other)
            shared = mine.intersect(theirs).intersect(Box(0, 0, *lattice.shape))
            here.append(values[shared.shifted(-mine.y0, -mine.x0).slices].ravel())
            there.append(fine[other][shared.shifted(-theirs.y0, -theirs.x0).slices].ravel())
    return float(np.corrcoef(np.concatenate(here), np.concatenate(there))[0, 1])


def tissue_pixels(slide: Slide, planned: Plan) -> Mask:
    """Return where there is tissue, without the section's margin."""
    mask, cell_px = tissue_mask(slide, planned.model_um)
    height, width = planned.lattice.shape
    tissue = np.kron(mask, np.ones((cell_px, cell_px), bool))[:height, :width]
    inner = np.zeros_like(tissue)
    inner[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] = True
    return tissue & inner


def measure_section(
    model: DAMM, args: argparse.Namespace, seed: int
) -> tuple[dict[str, Measures], dict[str, float]]:
    """Measure all maps of one section; also the agreement of its windows, per noise."""
    section, slide = evaluation_section(args.size, seed, args.preset)
    config = api.PredictConfig(mode=args.mode)
    planned = plan(slide, model.card, config)
    lattice = planned.lattice
    tissue = tissue_pixels(slide, planned)
    sampling = sampler.Sampling(
        *config.sampler_for(model.config.unet.predicts),
        config.seed,
        config.gamma,
        default_batch("cpu"),
    )
    window_sampler = sampler.WindowSampler(model, sampling, "cpu")
    inputs = cut_windows(slide, planned)
    images = {"truth": section.nanoparticles, "vessels": section.vessels}
    agreements = {}
    for name, drawn in (("keyed", noise.window_noise), ("free", free_noise)):
        with patch.object(sampler, "window_noise", drawn):
            outputs = sample_windows(window_sampler, inputs, default_samplers("cpu"))
        windows = {window: output.np for window, output in outputs.items()}
        images[f"{name} + blend"] = lattice.blend(Box(0, 0, *lattice.shape), windows)
        images[f"{name} + cut"] = nearest(lattice, windows)
        agreements[name] = agreement(lattice, windows)
    scores = {}
    for name, image in images.items():
        floats = image.astype(np.float32)
        scores[name] = line_scores(floats, tissue, lattice, model.config.latent_factor)
        scores[name] |= band_scores(floats, tissue, lattice)
    return scores, agreements


def summarise(values: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, list[float]]:
    """Return the score and the score over the truth's, each as (value, low, high)."""
    kept = np.isfinite(values) & np.isfinite(truth)
    values, truth = values[kept], truth[kept]
    index = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    redrawn, controls = values[index].mean(axis=1), truth[index].mean(axis=1)
    score, control = float(values.mean()), float(truth.mean())
    bounds = np.percentile(redrawn, (2.5, 97.5)), np.percentile(redrawn / controls, (2.5, 97.5))
    return {
        "score": [score, *map(float, bounds[0])],
        "of truth": [score / control, *map(float, bounds[1])],
    }


def print_table(table: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> None:
    """Print one block per measure, one line per map."""
    for measure in next(iter(table.values())):
        print(f"\n{measure:26}{'score':>6}  95 % interval  of truth  95 % interval")
        for name, row in table.items():
            numbers = row[measure]["score"], row[measure]["of truth"]
            print(
                f"  {name:22}", "  ".join("{:7.3f}  {:5.3f}..{:5.3f}".format(*n) for n in numbers)
            )


def target(row: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, bool]:
    """Return which scores lie within 5 % of 1, as they are and as shares of the truth's."""
    wanted = [measure for measure in row if measure != "seam at cuts"]
    return {
        measure + suffix: abs(row[measure][kind][0] - 1) <= TOLERANCE
        for kind, suffix in (("score", ""), ("of truth", ", of truth"))
        for measure in wanted
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sections, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--sections", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=EVALUATION_SEEDS_FROM)
    parser.add_argument("--preset", default="internal")
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    if args.size < 2 * STRIDE:
        parser.error(f"--size must be {2 * STRIDE} or more, so that windows meet, got {args.size}")
    model = api.load_model(args.model, "cpu")
    found = []
    for seed in range(args.first_seed, args.first_seed + args.sections):
        found.append(measure_section(model, args, seed))
        print(f"section {seed} of {args.size} px sampled", flush=True)

    def pooled(name: str, measure: str) -> NDArray[np.float64]:
        return np.concatenate([scores[name][measure] for scores, _ in found])

    names, measures = list(found[0][0]), list(found[0][0]["truth"])
    table = {
        name: {m: summarise(pooled(name, m), pooled("truth", m)) for m in measures}
        for name in names
    }
    agreements = {n: float(np.mean([a[n] for _, a in found])) for n in ("keyed", "free")}
    print_table(table)
    print("\nagreement of overlapping windows, fine part:", agreements)
    verdict = target(table["keyed + blend"])
    print("within 5 % of 1, keyed + blend:", verdict)
    print("machine:", machine())
    if args.json:
        report = {"arguments": vars(args), "table": table, "agreement": agreements}
        report |= {"within 5 % of 1": verdict, "machine": machine()}
        args.json.write_text(json.dumps(report, default=str, indent=1))


if __name__ == "__main__":
    main()
