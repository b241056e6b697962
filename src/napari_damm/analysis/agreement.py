"""A predicted map against an imaged one: how far they agree, and where they don't.

1. Both are scaled to 0..1: the imaged one by its 0.1 and 99.9 percentiles over tissue, the
   predicted one is so already.
2. Pixels: Pearson's r, SSIM, PSNR, R2. Blocks of 64 px: ICC(3,1), and Bland and Altman's bias with
   its limits of agreement (1986).
3. The profiles by distance from vessels: how far apart they are, on average over shells outside.
4. Maps of more than 8192 px a side are compared after averaging squares of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.slide import intensity_limits
from napari_damm.util import metrics
from napari_damm.util.extravasation import Profile, paired_tile_means, tile_means
from napari_damm.util.measure import Measure, finite_or_none
from napari_damm.util.tiling import Box

Floats = NDArray[np.float32]

BLOCK_PX = 64
LARGEST_PX = 8192
LIMITS_SD = 1.96
UNIT = "relative intensity"
SHOWN = {
    "r": Measure("Pearson r"),
    "ssim": Measure("SSIM"),
    "psnr": Measure("PSNR", "dB", 2),
    "r2": Measure("R2"),
    "icc": Measure(f"ICC(3,1) of {BLOCK_PX} px blocks"),
    "profile_difference": Measure("mean difference of the profiles", UNIT),
    "bias": Measure("bias, predicted minus imaged", UNIT),
    "low": Measure("lower limit of agreement", UNIT),
    "high": Measure("upper limit of agreement", UNIT),
}
SCALES = (
    "Predicted and imaged intensities are on different scales: those of an imaged map are the "
    "file's, those of a predicted one are relative (0 to 1 are the 0.1 and 99.9 percentiles of "
    "imaged particles over tissue). So exposure, dose per cell and signal of the one do not "
    "compare with those of the other; to compare two maps, the imaged one is scaled in that way."
)


@dataclass(frozen=True, eq=False)
class Agreement:
    """Predicted (first) against imaged: None where a number cannot be had.

    `bias` is the mean of predicted minus imaged over blocks, `low` and `high` its limits of
    agreement, `profile_difference` the mean absolute difference of the profiles outside vessels,
    all in relative intensity; `scaled_by` are the imaged intensities that became 0 and 1.
    `blocks` (n, 2) are imaged and predicted; `difference`
    (y, x) is the map, NaN outside tissue, with pixels of `pixel_um`.
    """

    ssim: float | None
    psnr: float | None
    r2: float | None
    icc: float | None
    bias: float | None
    low: float | None
    high: float | None
    pixels: int
    pixel_um: tuple[float, float]
    blocks: NDArray[np.float64] = field(repr=False)
    difference: Floats = field(repr=False)
    r: float | None = None
    profile_difference: float | None = None
    scaled_by: tuple[float, float] = (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers."""
        names = (*SHOWN, "pixels", "pixel_um", "scaled_by")
        return {name: getattr(self, name) for name in names} | {"blocks": len(self.blocks)}

    def with_profiles(self, predicted: Profile | None, imaged: Profile | None) -> Agreement:
        """Return it with the difference of two profiles, where both have the same shells."""
        if predicted is None or imaged is None or predicted.signal.size != imaged.signal.size:
            return self
        low, high = self.scaled_by
        gaps = np.abs(predicted.signal - (imaged.signal - low) / (high - low))
        return replace(self, profile_difference=float(gaps.mean()))


def compare_maps(section: ParticleMap) -> Agreement:
    """Compare a section's predicted map with its imaged one.

    Raises
    ------
    ValueError
        If the imaged one is blank in tissue.
    """
    step = -(-max(section.shape) // LARGEST_PX)
    tissue = _averaged(section, lambda box: _compared_in(section, box), step) > 0.5
    predicted = _averaged(section, lambda box: section.read("particles", box), step)
    imaged = _averaged(section, lambda box: section.read("imaged", box), step)
    low, high = intensity_limits(
        imaged[tissue], "the imaged particle channel", "choose another {particles_channel}"
    )
    imaged = np.clip((imaged - low) / (high - low), 0, 1).astype(np.float32)
    blocks = paired_tile_means(imaged, predicted, tissue, BLOCK_PX)
    gaps = blocks[:, 1] - blocks[:, 0]
    spread = LIMITS_SD * float(gaps.std(ddof=1)) if gaps.size > 1 else None
    bias = float(gaps.mean()) if gaps.size else None
    pair = imaged[tissue], predicted[tissue]
    return Agreement(
        r=finite_or_none(lambda: metrics.pearson_r(*pair)),
        scaled_by=(low, high),
        ssim=finite_or_none(lambda: metrics.ssim(imaged, predicted, mask=tissue)),
        psnr=finite_or_none(lambda: metrics.psnr(*pair)),
        r2=finite_or_none(lambda: metrics.r2(*pair)),
        icc=finite_or_none(lambda: metrics.icc31(blocks)),
        bias=bias,
        low=None if bias is None or spread is None else bias - spread,
        high=None if bias is None or spread is None else bias + spread,
        pixels=int(tissue.sum()),
        pixel_um=(section.pixel_um[0] * step, section.pixel_um[1] * step),
        blocks=blocks,
        difference=np.where(tissue, predicted - imaged, np.float32(np.nan)),
    )


def _compared_in(section: ParticleMap, box: Box) -> NDArray[np.bool_]:
    """Return the tissue of a box of which both maps have a picture."""
    return section.tissue_in(box) & ~section.unseen_in("imaged", box)


def imaged_alone(section: ParticleMap) -> ParticleMap:
    """Return a section with its imaged particles for its predicted ones, and without cells."""
    images = {role: read for role, read in section.images.items() if role != "nuclei"}
    images["particles"] = images["imaged"]
    unseen = {role: cells for role, cells in section.unseen.items() if role == "vessels"}
    if "imaged" in section.unseen:
        unseen["particles"] = section.unseen["imaged"]
    return replace(section, images=images, nucleus_labels=None, samples=(), unseen=unseen)


def _averaged(section: ParticleMap, read: Callable[[Box], NDArray[Any]], step: int) -> Floats:
    """Return an image of means over squares of `step` pixels; what fills none is left out."""
    rows, cols = (n // step for n in section.shape)
    out = np.empty((rows, cols), np.float32)
    band = max(1, 1024 // step)
    for top in range(0, rows, band):
        bottom = min(top + band, rows)
        pixels = read(Box(top * step, 0, bottom * step, cols * step))
        out[top:bottom] = tile_means(pixels, step) if step > 1 else pixels
    return out
