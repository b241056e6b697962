"""A phantom of three MR contrasts, to train on something that is no tumour section.

An ellipse of "brain" holds blobs of two tissues, and some lesions. Each contrast shows them in its
own grey; a lesion is bright in the third only, and visible in the second.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

CONTRASTS = ("T1", "T2", "FLAIR")


def phantom(shape: tuple[int, int] = (320, 576), seed: int = 0) -> dict[str, np.ndarray]:
    """T1, T2 and FLAIR, float32, with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    middle, half = np.array(shape) / 2, 0.47 * np.array(shape)
    head = ((y - middle[0]) / half[0]) ** 2 + ((x - middle[1]) / half[1]) ** 2 < 1
    white = ndimage.gaussian_filter(rng.normal(size=shape), 12) > 0
    lesion = ndimage.gaussian_filter(rng.normal(size=shape), 8) > 0.055
    greys = {"T1": (0.5, 0.8, 0.45), "T2": (0.7, 0.4, 0.9), "FLAIR": (0.4, 0.5, 1.0)}
    found = {}
    for contrast, (grey, white_grey, bright) in greys.items():
        image = np.where(lesion, bright, np.where(white, white_grey, grey)) * head
        image = ndimage.gaussian_filter(image, 1.5) + rng.normal(0, 0.02, shape)
        found[contrast] = image.astype(np.float32)
    return found
