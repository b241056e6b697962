"""Latents of augmented views, computed once and kept on disk.

1. A file holds one record per training patch and view: three latents in float16, then the checksum
   of these bytes. A record that was never written, or was torn, has no valid checksum, and one
   that holds what is no number is not believed.
2. `get` reads a record, or reads the view, encodes it and writes the record. Both give the same
   bits: what was encoded is rounded to float16 too.
3. The file's name is a hash of all that its records depend on. A disk that is full or fails ends
   the keeping, not the training.
"""

from __future__ import annotations

import math
import os
import shutil
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.sources import ROLES
from napari_damm.model.damm import DAMM
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.files import check_own
from napari_damm.util.text import gigabytes
from napari_damm.util.tiling import WINDOW

CHECKSUM = 4
SPARE_BYTES = 2**30
"""So much of the disk is left to others."""


class Latents(NamedTuple):
    """Latents (n, c, h, w) of n windows in the three roles."""

    primary: Tensor
    secondary: Tensor
    target: Tensor


@torch.no_grad()
def encode_windows(model: DAMM, windows: Tensor, half: bool = False) -> Latents:
    """Latents of windows (n, 3, h, w) in [-1, 1]: primary, secondary, target, one at a time.

    `half` computes them in bfloat16: on a CPU that has it 2.5 times as fast.
    """
    encoded = []
    with torch.autocast(windows.device.type, torch.bfloat16, enabled=half):
        for k, role in enumerate(ROLES):
            channels = model.first_stage(role).config.image_channels
            images = [w[None, k : k + 1].expand(-1, channels, -1, -1) for w in windows]
            encoded.append(torch.cat([model.encode(image, role).float() for image in images]))
    return Latents(*encoded)


class LatentFile:
    """Records of latents in one file; `path` None keeps nothing."""

    def __init__(self, path: Path | None, shape: tuple[int, int, int], records: int) -> None:
        self.shape = (len(ROLES), *shape)
        self.bytes = 2 * math.prod(self.shape)
        self.warning = ""
        """Why nothing more is kept, once that is so."""
        self._handle: int | None = None
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        size = records * (self.bytes + CHECKSUM)
        there = path.stat().st_size if path.exists() else 0
        free = shutil.disk_usage(path.parent).free
        if size - there + SPARE_BYTES > free:
            self.warning = (
                f"the latents would take {gigabytes(size)}, and {gigabytes(SPARE_BYTES)} are to be "
                f"left, of {gigabytes(free)} that are free in {path.parent}: they are computed "
                "anew in every epoch, which is slower"
            )
            return
        check_own(path)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0))

    def read(self, record: int) -> NDArray[np.float16] | None:
        """Return a record (3, c, h, w), None where there is no valid one."""
        if self._handle is None:
            return None
        length = self.bytes + CHECKSUM
        os.lseek(self._handle, record * length, os.SEEK_SET)
        data = os.read(self._handle, length)
        if len(data) < length or zlib.crc32(data[:-CHECKSUM]).to_bytes(4, "big") != data[-4:]:
            return None
        latents = np.frombuffer(data[:-CHECKSUM], np.float16).reshape(self.shape)
        return latents if np.isfinite(latents).all() else None

    def write(self, record: int, latents: NDArray[np.float16]) -> None:
        """Keep a record; where that fails, keep no more from now on."""
        if self._handle is None:
            return
        data = latents.tobytes()
        reason = "the disk is full"  # where nothing is raised, but less is written
        try:
            os.lseek(self._handle, record * (self.bytes + CHECKSUM), os.SEEK_SET)
            written = os.write(self._handle, data + zlib.crc32(data).to_bytes(4, "big"))
        except OSError as error:
            written = 0
            if not is_disk_full(error):
                reason = f"latents cannot be kept ({one_line(error)})"
        if written < self.bytes + CHECKSUM:
            self.warning = (
                f"{reason}: latents are computed anew in every epoch, which is slower; free some "
                "space and resume"
            )
            self.close()

    def close(self) -> None:
        """Let go of the file; nothing is kept any more."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def latent_shape(model: DAMM) -> tuple[int, int, int]:
    """Return (channels, height, width) of a window's latent."""
    side = WINDOW // model.config.latent_factor
    return model.config.unet.latent_channels, side, side
