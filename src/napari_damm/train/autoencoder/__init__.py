"""Training of the first stages (one autoencoder per modality).

1. `image_losses`: how far a reconstruction is from its image.
2. `codebook`: where the latents lie, and the codebook among them.
3. `adversary`: the patch discriminator that may join late.
4. `one_stage`: one autoencoder's training; from scratch, or adapting a trained one.
5. `all_stages`: those of a model, resumable from a folder:

       train_first_stages(
           model: DAMM,
           batch: Callable[[str | None, int], Tensor],  # role (None: mixed), step -> (b, c, h, w)
           config: FirstStagesConfig,
           folder: Path,
       ) -> Generator[StageStep, None, None]

6. `quality`: how well a model's autoencoders reproduce the user's images.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.1; VQGAN (arXiv 2012.09841).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.train.autoencoder.all_stages import (
        FirstStagesConfig,
        StageStep,
        stage_plan,
        train_first_stages,
    )
    from napari_damm.train.autoencoder.image_losses import load_lpips
    from napari_damm.train.autoencoder.one_stage import (
        FirstStageConfig,
        FirstStageState,
        FirstStageStep,
        train_first_stage,
    )
    from napari_damm.train.autoencoder.quality import (
        POOR_R2,
        poor_reconstruction,
        reconstruction_scores,
    )

__all__ = [
    "POOR_R2",
    "FirstStageConfig",
    "FirstStageState",
    "FirstStageStep",
    "FirstStagesConfig",
    "StageStep",
    "load_lpips",
    "poor_reconstruction",
    "reconstruction_scores",
    "stage_plan",
    "train_first_stage",
    "train_first_stages",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "all_stages": ["FirstStagesConfig", "StageStep", "stage_plan", "train_first_stages"],
        "image_losses": ["load_lpips"],
        "one_stage": ["FirstStageConfig", "FirstStageState", "FirstStageStep", "train_first_stage"],
        "quality": ["POOR_R2", "poor_reconstruction", "reconstruction_scores"],
    },
)
