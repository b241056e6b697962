"""How a picture could have been taken: one crop of it, with tones, focus and noise of its own.

1. `cut`: a square anywhere in the picture, of another scale, turned and mirrored.
2. `expose`: gamma and contrast; blur or sharpening; shot and read noise; JPEG.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[np.float32]
SCALES = (0.6, 2.2)
"""Pixels of the picture per pixel of the crop."""
JPEG_QUALITY = (50, 96)


def cut(picture: Picture, rng: np.random.Generator, size: int) -> Picture:
    """Return a crop (size, size) at random place, scale and orientation."""
    scale = np.exp(rng.uniform(*np.log(SCALES))) if rng.random() < 0.7 else 1.0
    side = min(int(size * scale), *picture.shape)
    y, x = (int(rng.integers(0, n - side + 1)) for n in picture.shape)
    piece = picture[y : y + side, x : x + side]
    if side != size:
        # Pillow's filter grows with the reduction, so that nothing aliases
        made = Image.fromarray(piece, mode="F").resize((size, size), Image.Resampling.BICUBIC)
        piece = np.asarray(made, np.float32)
    piece = np.rot90(piece, int(rng.integers(4)))
    return np.ascontiguousarray(piece[:, ::-1] if rng.random() < 0.5 else piece)


def expose(crop: Picture, rng: np.random.Generator) -> Picture:
    """Return the crop in 0..1 as some microscope and camera would have recorded it."""
    image = np.clip(crop, 0, 1)
    if rng.random() < 0.15:
        image = 1 - image
    image = image ** np.exp(rng.uniform(-0.7, 0.7))
    sharpness = rng.random()
    if sharpness < 0.35:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.6))
    elif sharpness < 0.6:
        soft = ndimage.gaussian_filter(image, rng.uniform(0.6, 1.5))
        image = image + rng.uniform(0.2, 1.5) * (image - soft)
    low, high = rng.uniform(-0.1, 0.15), rng.uniform(0.7, 1.3)
    image = low + (high - low) * image
    if rng.random() < 0.5:
        read, shot = rng.uniform(0, 0.03), rng.uniform(0, 0.06)
        level = np.sqrt(read**2 + shot**2 * np.clip(image, 0, 1))
        image = image + level * rng.standard_normal(image.shape)
    image = np.clip(image, 0, 1).astype(np.float32)
    return _jpeg(image, rng) if rng.random() < 0.4 else image


def _jpeg(image: Picture, rng: np.random.Generator) -> Picture:
    buffer = BytesIO()
    grey = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    grey.save(buffer, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
    stored: Picture = np.asarray(Image.open(buffer), np.float32) / np.float32(255)
    return stored
