"""How a picture could have been taken: one crop of it, with tones, focus and noise of its own.

1. `cut`: a square anywhere in the picture, of another scale, turned and mirrored.
2. `expose`: gamma and contrast; blur or sharpening; shot and read noise; JPEG.

What is random of both is drawn first (`draw_cut`, `draw_exposure`), so that it can be done to many
crops at once elsewhere (`device_pictures`).
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[np.float32]
SCALES = (0.6, 2.2)
"""Pixels of the picture per pixel of the crop."""
JPEG_QUALITY = (50, 96)


@dataclass(frozen=True)
class Cut:
    """A square of a picture: corner, side, quarter turns, and whether it is mirrored after them."""

    y: int
    x: int
    side: int
    turns: int
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Exposure:
    """What befalls a crop, in this order.

    Its tones are `inverted`, and raised to a power `gamma`. What a Gaussian of `sigma` px takes
    away is added `sharpened` times: -1 is blur, 0 leaves it as it is. 0 and 1 become `low` and
    `high`. `read` and `shot` noise are in proportion to `grain` (size, size), None for none.
    `quality` is that of a JPEG, None where it is not compressed.
    """

    inverted: bool
    gamma: float
    sigma: float
    sharpened: float
    low: float
    high: float
    read: float = 0.0
    shot: float = 0.0
    grain: NDArray[np.float64] | None = None
    quality: int | None = None


def draw_cut(shape: tuple[int, ...], rng: np.random.Generator, size: int) -> Cut:
    """Draw a square of a picture of a shape, which becomes a crop (size, size)."""
    scale = np.exp(rng.uniform(*np.log(SCALES))) if rng.random() < 0.7 else 1.0
    side = min(int(size * scale), *shape)
    y, x = (int(rng.integers(0, n - side + 1)) for n in shape)
    return Cut(y, x, side, int(rng.integers(4)), bool(rng.random() < 0.5))


def draw_exposure(rng: np.random.Generator, size: int) -> Exposure:
    """Draw what befalls a crop (size, size)."""
    inverted = bool(rng.random() < 0.15)
    gamma = np.exp(rng.uniform(-0.7, 0.7))
    sigma, sharpened = 0.0, 0.0
    sharpness = rng.random()
    if sharpness < 0.35:
        sigma, sharpened = rng.uniform(0.3, 1.6), -1.0
    elif sharpness < 0.6:
        sigma, sharpened = rng.uniform(0.6, 1.5), rng.uniform(0.2, 1.5)
    low, high = rng.uniform(-0.1, 0.15), rng.uniform(0.7, 1.3)
    noise: dict[str, Any] = {}
    if rng.random() < 0.5:
        noise = {"read": rng.uniform(0, 0.03), "shot": rng.uniform(0, 0.06)}
        noise["grain"] = rng.standard_normal((size, size))
    quality = int(rng.integers(*JPEG_QUALITY)) if rng.random() < 0.4 else None
    return Exposure(inverted, gamma, sigma, sharpened, low, high, quality=quality, **noise)


def cut(picture: Picture, drawn: Cut, size: int) -> Picture:
    """Return the crop (size, size) that was drawn."""
    y, x, side = drawn.y, drawn.x, drawn.side
    piece = picture[y : y + side, x : x + side]
    if side != size:
        # Pillow's filter grows with the reduction, so that nothing aliases
        made = Image.fromarray(piece, mode="F").resize((size, size), Image.Resampling.BICUBIC)
        piece = np.asarray(made, np.float32)
    piece = np.rot90(piece, drawn.turns)
    return np.ascontiguousarray(piece[:, ::-1] if drawn.mirrored else piece)


def expose(crop: Picture, drawn: Exposure) -> Picture:
    """Return the crop in 0..1 as some microscope and camera would have recorded it."""
    image = np.clip(crop, 0, 1)
    if drawn.inverted:
        image = 1 - image
    image = image**drawn.gamma
    if drawn.sharpened:
        soft = ndimage.gaussian_filter(image, drawn.sigma)
        image = soft if drawn.sharpened < 0 else image + drawn.sharpened * (image - soft)
    image = drawn.low + (drawn.high - drawn.low) * image
    if drawn.grain is not None:
        level = np.sqrt(drawn.read**2 + drawn.shot**2 * np.clip(image, 0, 1))
        image = image + level * drawn.grain
    image = np.clip(image, 0, 1).astype(np.float32)
    return image if drawn.quality is None else _jpeg(image, drawn.quality)


def _jpeg(image: Picture, quality: int) -> Picture:
    buffer = BytesIO()
    grey = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    grey.save(buffer, "JPEG", quality=quality)
    stored: Picture = np.asarray(Image.open(buffer), np.float32) / np.float32(255)
    return stored
