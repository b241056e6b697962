"""Training of the autoencoders (one autoencoder per modality).

1. `image_losses`: how far a reconstruction is from its image.
2. `codebook`: where the latents lie, and the codebook among them.
3. `adversary`: the patch discriminator that may join late.
4. `learning`: one step, which is recorded on a graphics card; `training_state`: what it goes on
   from.
5. `single`: one autoencoder's training; from scratch, or adapting a trained one.
6. `all_roles`: those of a model, resumable from a folder:

       train_autoencoders(
           model: DAMM,
           batch: Callable[[str | None, int], Tensor],  # role (None: mixed), step -> (b, c, h, w)
           config: AutoencodersTraining,
           folder: Path,
           recorder: Callable[[], Recorder | None] = lambda: None,  # of steps on a graphics card
       ) -> Generator[RoleStep, None, None]

7. `quality`: how well a model's autoencoders reproduce the user's images.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.1; VQGAN (arXiv 2012.09841).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.train.autoencoder.all_roles import (
        AutoencodersTraining,
        RoleStep,
        train_autoencoders,
        training_plan,
    )
    from napari_damm.train.autoencoder.image_losses import load_lpips
    from napari_damm.train.autoencoder.quality import (
        POOR_R2,
        poor_reconstruction,
        reconstruction_scores,
    )
    from napari_damm.train.autoencoder.single import train_autoencoder
    from napari_damm.train.autoencoder.training_state import (
        AutoencoderState,
        AutoencoderStep,
        AutoencoderTraining,
    )

__all__ = [
    "POOR_R2",
    "AutoencoderState",
    "AutoencoderStep",
    "AutoencoderTraining",
    "AutoencodersTraining",
    "RoleStep",
    "load_lpips",
    "poor_reconstruction",
    "reconstruction_scores",
    "train_autoencoder",
    "train_autoencoders",
    "training_plan",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "all_roles": ["AutoencodersTraining", "RoleStep", "training_plan", "train_autoencoders"],
        "image_losses": ["load_lpips"],
        "single": ["train_autoencoder"],
        "training_state": ["AutoencoderTraining", "AutoencoderState", "AutoencoderStep"],
        "quality": ["POOR_R2", "poor_reconstruction", "reconstruction_scores"],
    },
)
