"""DAMM-Diffusion as torch modules: no files, no slides, no schedules."""

from napari_damm.model.damm import DAMM, DAMMConfig, select_branch
from napari_damm.model.unet import BranchOutputs, TwoBranchUNet, UNetConfig
from napari_damm.model.vqgan import VQGAN, VectorQuantizer, VQGANConfig

__all__ = [
    "DAMM",
    "VQGAN",
    "BranchOutputs",
    "DAMMConfig",
    "TwoBranchUNet",
    "UNetConfig",
    "VQGANConfig",
    "VectorQuantizer",
    "select_branch",
]
