"""Models as files: one `.safetensors` whose header carries a JSON card.

1. `header`: the card and the shapes of the tensors, without torch.
2. `weights`: save a model, read it back.
3. `autoencoder`: the trained autoencoder that new models start with.
4. `library`: the bundled models and the user's own, by name.

Nothing is ever unpickled. Every complaint is one sentence that names the file.
"""

from napari_damm.model_file.autoencoder import save_autoencoder, take_trained_autoencoders
from napari_damm.model_file.header import (
    CHANCE,
    LEAST_R,
    NO_BETTER,
    card_and_sum,
    first_few,
    loses_to_linear,
    read_card,
    spread_factor,
    summary,
    trained_on,
    warning_of,
)
from napari_damm.model_file.library import (
    ModelInfo,
    bundled_folder,
    check_new_name,
    export_model,
    find_model,
    import_model,
    list_models,
    load_model,
    model_name,
    remove_model,
    resolve_device,
    user_folder,
)
from napari_damm.model_file.weights import content_hash, save_model
from napari_damm.util.files import sha256

__all__ = [
    "CHANCE",
    "LEAST_R",
    "NO_BETTER",
    "ModelInfo",
    "bundled_folder",
    "card_and_sum",
    "check_new_name",
    "content_hash",
    "export_model",
    "find_model",
    "first_few",
    "import_model",
    "list_models",
    "load_model",
    "loses_to_linear",
    "model_name",
    "read_card",
    "remove_model",
    "resolve_device",
    "save_autoencoder",
    "save_model",
    "sha256",
    "spread_factor",
    "summary",
    "take_trained_autoencoders",
    "trained_on",
    "user_folder",
    "warning_of",
]
