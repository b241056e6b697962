"""Training and fine-tuning: a generator of events, like a prediction.

1. `setup`: sections, model, split and machine are resolved once.
2. `autoencoders`: the autoencoders are measured on the images, and trained where that was asked.
3. `latents`, `batches`: views of patches become latents, kept on disk; which of them a step sees.
4. `noise_steps`: one step of the noise estimator, in either phase.
5. `validation`: the averaged model predicts windows that no training patch touches.
6. `folder`: checkpoints, curves, the model and its card, so that a stop loses nothing.
7. `run`: the loop that ties them together.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_damm.train.run import fine_tune

__all__ = ["fine_tune"]

__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"run": ["fine_tune"]})
