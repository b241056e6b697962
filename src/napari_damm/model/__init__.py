"""DAMM-Diffusion as torch modules: no files, no slides, no schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.model.autoencoder import Autoencoder, AutoencoderConfig
    from napari_damm.model.damm import DAMM, DAMMConfig, select_branch
    from napari_damm.model.unet import BranchOutputs, TwoBranchUNet, UNetConfig
    from napari_damm.model.vqgan import VQGAN, VectorQuantizer, VQGANConfig

__all__ = [
    "DAMM",
    "VQGAN",
    "Autoencoder",
    "AutoencoderConfig",
    "BranchOutputs",
    "DAMMConfig",
    "TwoBranchUNet",
    "UNetConfig",
    "VQGANConfig",
    "VectorQuantizer",
    "select_branch",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "autoencoder": ["Autoencoder", "AutoencoderConfig"],
        "damm": ["DAMM", "DAMMConfig", "select_branch"],
        "unet": ["BranchOutputs", "TwoBranchUNet", "UNetConfig"],
        "vqgan": ["VQGAN", "VectorQuantizer", "VQGANConfig"],
    },
)
