"""The trained autoencoder that comes with the package: what new models of our recipe start with.

One small file, `weights/autoencoders/ours.safetensors`: the weights in float16, and in its header
the architecture, what it was trained on and how well it reproduces real tissue.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.model_file.library import bundled_folder
from napari_damm.util.files import written_whole

if TYPE_CHECKING:
    from napari_damm.model.autoencoder import Autoencoder, AutoencoderConfig
    from napari_damm.model.damm import DAMM

FILE = Path("autoencoders") / "ours.safetensors"
_ARCHITECTURE, _CARD = "architecture", "card"


def save_autoencoder(autoencoder: Autoencoder, path: Path, card: dict[str, Any]) -> Path:
    """Write an autoencoder, rounded to float16, and what is known of it.

    Raises
    ------
    OSError
        If the file cannot be written; nothing is left behind.
    """
    from safetensors.torch import save

    header = {_ARCHITECTURE: _architecture(autoencoder.config), _CARD: json.dumps(card)}
    tensors = {
        name: value.detach().cpu().half().contiguous()
        for name, value in autoencoder.state_dict().items()
        if not name.startswith("guide.")
    }
    with written_whole(path) as stream:
        stream.write(save(tensors, header))
    return path


def take_trained_autoencoders(model: DAMM) -> bool:
    """Give a new model the autoencoder that comes with the package, in all three roles.

    Returns
    -------
    Whether it fits, and is there; the model is as it was if not.
    """
    from safetensors import SafetensorError, safe_open

    from napari_damm.model.autoencoder import AutoencoderConfig
    from napari_damm.model.damm import ROLES

    path = bundled_folder() / FILE
    stages = [model.first_stage(role) for role in ROLES]
    sizes = {
        _architecture(stage.config)
        for stage in stages
        if isinstance(stage.config, AutoencoderConfig)
    }
    if not path.is_file() or len(sizes) != 1:
        return False
    try:
        with safe_open(path, "pt") as file:
            if {(file.metadata() or {}).get(_ARCHITECTURE)} != sizes:
                return False
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): install again") from None
    for stage in stages:
        stage.load_state_dict({**stage.state_dict(), **tensors})
    return True


def _architecture(config: AutoencoderConfig) -> str:
    """Write sizes, but for the guide: it is the model's own."""
    return json.dumps(asdict(replace(config, guided=False)), sort_keys=True)
