"""A model as a package of bioimage.io: one zip with description, weights, test tensors and cover.

1. `WindowNetwork` makes all steps of a mode one network; its state dict holds the start, too.
2. The test input is a simulated section of a reserved seed, the test output what the network makes
   of it, with the intensities scaled as the description says.
3. The description (`rdf.yaml`) is JSON, which is YAML. It is of format 0.5.

Other programs scale each window by itself, Predict by the whole section, and no other program
blends windows: the documentation in the package says so.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.model_file.library import model_name
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.util.files import check_new, written_whole
from napari_damm.util.version import __version__

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

FORMAT_VERSION = "0.5.3"
SIDE = 256
PERCENTILES = 0.1, 99.9
EPS = 1e-6
TOLERANCE = 1e-3
BUNDLED_AUTHOR = "napari-damm developers"
PAPER = {
    "text": "Zhou et al., DAMM-Diffusion: Learning Divergence-Aware Multi-Modal Diffusion Model "
    "for Nanoparticles Distribution Prediction, CVPR 2025",
    "url": "https://arxiv.org/abs/2503.09491",
}
REPOSITORY = "https://github.com/napari-damm/napari-damm"

FROM_NOISE = (
    "Its noise, of seed {seed}, is part of the weights, so the\nsame images give the same map."
)
FROM_ZERO = "It starts without any noise, so the same images give the same map."

DOCUMENTATION = """# {name}

Predicts {target} from {primary} and {secondary} by a diffusion model with two branches
(DAMM-Diffusion), in mode {mode}: {steps}. {start}

Trained on: {trained}.

## What it is not

- Not a whole prediction. napari-damm scales intensities over the whole section, blends overlapping
  windows, starts each window from noise of its own place, and says how far to trust a section.
  This package predicts one window of {side} x {side} px, with intensities of that window.
- Not validated on real tissue, if it was trained on simulated tissue only.

## Validation

The test input is a simulated section that no training of the bundled model saw; the test output is
what this network made of it. Compare predictions with imaged {target} of sections of your own:
`napari-damm evaluate`.
"""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PackageChoice:
    """What goes into a package: the steps of its mode, the noise it starts from, and who made it.

    `start` is (c, h, w), standard normal, of a window of `SIDE` px.
    """

    mode: str
    steps: int
    seed: int
    start: Floats
    author: str


def export_bioimageio(model: DAMM, out: str | Path, choice: PackageChoice) -> Path:
    """Write a model as a package, a zip file.

    Raises
    ------
    ValueError
        If the file's name does not end in .zip.
    OSError
        If it exists already or cannot be written.
    """
    import torch

    from napari_damm.model_file.window_network import WindowNetwork

    target = check_new(Path(out))
    if target.suffix != ".zip":
        raise ValueError(f"a package of bioimage.io must end in .zip, got {target}")
    arguments: dict[str, Any] = {
        "architecture": model.config.to_dict(),
        "side": SIDE,
        "steps": choice.steps,
        "gamma": 0.5,
    }
    network = WindowNetwork(arguments["architecture"], SIDE, choice.steps).eval()
    network.damm.load_state_dict(model.state_dict())
    network.x_T.copy_(torch.from_numpy(choice.start)[None])
    card = {**model.card, "name": model_name(model)}
    files = _tensors(network)
    state = io.BytesIO()
    torch.save(network.state_dict(), state)
    files |= {
        "weights.pt": state.getvalue(),
        "environment.yaml": _environment(torch.__version__),
        "README.md": _documentation(card, choice).encode(),
        "cover.png": _cover(files),
    }
    described = _description(card, arguments, choice, files, torch.__version__)
    files["rdf.yaml"] = json.dumps(described, indent=1).encode()
    with written_whole(target) as stream, zipfile.ZipFile(stream, "w") as package:
        for name, content in files.items():
            package.writestr(name, content, zipfile.ZIP_DEFLATED)
    return target


def scaled(image: NDArray[Any]) -> Floats:
    """Return intensities as other programs scale them: percentiles of the window to 0 and 1."""
    low, high = np.percentile(image, PERCENTILES)
    return np.asarray((image - low) / (high - low + EPS), np.float32)


def _tensors(network: Any) -> dict[str, bytes]:
    """Return the test tensors as numpy files, by name."""
    import torch

    section = simulate_slide(SIDE, EVALUATION_SEEDS_FROM, "internal")
    raw = [np.asarray(each, np.float32)[None, None] for each in (section.vessels, section.nuclei)]
    with torch.inference_mode():
        outputs = network(*(torch.from_numpy(scaled(image)) for image in raw))
    arrays = dict(zip(("primary", "secondary"), raw, strict=True))
    arrays |= {k: t.numpy() for k, t in zip(("target", "uncertainty"), outputs, strict=True)}
    return {f"{name}.npy": _npy(array) for name, array in arrays.items()}


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array))
    return stream.getvalue()


def _description(
    card: Mapping[str, Any],
    arguments: Mapping[str, Any],
    choice: PackageChoice,
    files: Mapping[str, bytes],
    torch_version: str,
) -> dict[str, Any]:
    """Return the content of rdf.yaml."""
    primary, secondary, target = card["modalities"]
    um = float(card.get("pixel_size_um") or 1.0)
    cells = np.load(io.BytesIO(files["uncertainty.npy"])).shape[2:]
    names = {"primary": primary, "secondary": secondary, "target": target}
    licence = {"license": card["licence"]} if card.get("licence") else {}
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": f"napari-damm {card.get('name', 'model')} {choice.mode}",
        "description": f"Predicts {target} from {primary} and {secondary} (DAMM-Diffusion)",
        "authors": [{"name": choice.author}],
        "cite": [PAPER],
        **licence,
        "tags": ["nanoparticles", "tumor", "diffusion", "fluorescence-light-microscopy", "pytorch"],
        "git_repo": REPOSITORY,
        "documentation": "README.md",
        "covers": ["cover.png"],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [_input(role, names[role], um, files) for role in ("primary", "secondary")],
        "outputs": [
            _output("target", target, (SIDE, SIDE), um, files),
            _output("uncertainty", "uncertainty", cells, um, files),
        ],
        "weights": {
            "pytorch_state_dict": {
                **_file("weights.pt", files),
                "pytorch_version": torch_version.partition("+")[0],
                "dependencies": _file("environment.yaml", files),
                "architecture": {
                    "import_from": "napari_damm.model_file.window_network",
                    "callable": "WindowNetwork",
                    "kwargs": dict(arguments),
                },
            }
        },
        "config": {
            "bioimageio": {
                "reproducibility_tolerance": [
                    {"relative_tolerance": TOLERANCE, "absolute_tolerance": TOLERANCE}
                ]
            },
            "napari_damm": {"model_sha256": card.get("sha256"), "seed": choice.seed},
        },
    }


def _file(name: str, files: Mapping[str, bytes]) -> dict[str, str]:
    return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}


def _axes(name: str, shape: tuple[int, ...], um: float) -> list[dict[str, Any]]:
    space = [
        {
            "type": "space",
            "id": axis,
            "size": int(size),
            "unit": "micrometer",
            "scale": um * SIDE / size,
        }
        for axis, size in zip("yx", shape, strict=True)
    ]
    channel = "".join(c if c.isalnum() else "_" for c in name.lower())
    return [{"type": "batch"}, {"type": "channel", "channel_names": [channel]}, *space]


def _input(role: str, name: str, um: float, files: Mapping[str, bytes]) -> dict[str, Any]:
    limits = {
        "axes": ["channel", "y", "x"],
        "min_percentile": PERCENTILES[0],
        "max_percentile": PERCENTILES[1],
        "eps": EPS,
    }
    return {
        "id": role,
        "description": f"{name}, at {um:g} um per pixel",
        "axes": _axes(name, (SIDE, SIDE), um),
        "data": {"type": "float32"},
        "test_tensor": _file(f"{role}.npy", files),
        "preprocessing": [{"id": "scale_range", "kwargs": limits}],
    }


def _output(
    role: str, name: str, shape: tuple[int, ...], um: float, files: Mapping[str, bytes]
) -> dict[str, Any]:
    return {
        "id": role,
        "description": f"{name}, relative" if role == "target" else "0 (sure) to 1 (unsure)",
        "axes": _axes(name, shape, um),
        "data": {"type": "float32"},
        "test_tensor": _file(f"{role}.npy", files),
    }


def _environment(torch_version: str) -> bytes:
    lines = ["channels: [conda-forge]", "dependencies:", "  - python >=3.11"]
    lines += [f"  - pytorch {torch_version.partition('+')[0]}", "  - pip", "  - pip:"]
    return "\n".join([*lines, f"    - napari-damm=={__version__}"]).encode() + b"\n"


def _documentation(card: Mapping[str, Any], choice: PackageChoice) -> str:
    primary, secondary, target = card["modalities"]
    data = card.get("training_data") or {}
    trained = data.get("description") if isinstance(data, Mapping) else None
    return DOCUMENTATION.format(
        name=card.get("name", "model"),
        primary=primary,
        secondary=secondary,
        target=target,
        mode=choice.mode,
        steps="one step" if choice.steps == 1 else f"{choice.steps} steps",
        start=FROM_NOISE.format(seed=choice.seed) if choice.start.any() else FROM_ZERO,
        trained=trained or "the card does not say",
        side=SIDE,
    )


def _cover(files: Mapping[str, bytes]) -> bytes:
    """Return a PNG of 2 : 1, the two inputs in colour and the target."""
    from matplotlib.image import imsave

    images = {
        name: np.load(io.BytesIO(files[f"{name}.npy"]))[0, 0]
        for name in ("primary", "secondary", "target")
    }
    first, second = (scaled(images[name]).clip(0, 1) for name in ("primary", "secondary"))
    inputs = np.stack([np.zeros_like(first), first, second], axis=-1)
    target = images["target"].clip(0, 1)[..., None] * (1.0, 0.6, 0.2)
    stream = io.BytesIO()
    imsave(stream, np.concatenate([inputs, target], axis=1), format="png")
    return stream.getvalue()
