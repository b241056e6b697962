"""The models there are: find one, load it, and keep the user's own.

1. A model is given by path, else by name: in the user's folder, else among the bundled ones. It is
   called as its file is, whatever the card in it was written with.
2. Listing reads headers only. A file that is no use is listed with its problem.
3. Importing, exporting and removing act on whole files, whose bytes never change.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from napari_damm.model_file.header import first_few, read_card, summary
from napari_damm.model_file.weights import SUFFIX, read_model
from napari_damm.util.advice import Advice
from napari_damm.util.files import LONGEST_NAME, check_new, check_writable, copy_file
from napari_damm.util.given import shown
from napari_damm.util.settings import DEVICES

if TYPE_CHECKING:
    import torch

    from napari_damm.model.damm import DAMM

USER_FOLDER_VARIABLE = "NAPARI_DAMM_MODELS"
_NAME = re.compile(r"\w[\w. -]*")


@dataclass(frozen=True)
class ModelInfo:
    """A model on offer. `problem` is one sentence where its file cannot be used."""

    name: str
    path: Path
    card: Mapping[str, Any]
    bundled: bool
    problem: str | None = None

    @property
    def summary(self) -> str:
        """One line for people: what the card says, or the problem."""
        return self.problem or summary({**self.card, "name": self.name})


def bundled_folder() -> Path:
    """Where the bundled models are: beside the package's code, or in the source tree."""
    package = Path(__file__).parents[1]
    inside = package / "weights"
    return inside if inside.is_dir() else package.parents[1] / "weights"


def user_folder() -> Path:
    """Where the user's own models are kept."""
    override = os.environ.get(USER_FOLDER_VARIABLE)
    return Path(override) if override else user_data_path("napari-damm", False) / "models"


def list_models() -> list[ModelInfo]:
    """List the bundled models, then the user's own; reads their headers only."""
    bundled, own = _files(bundled_folder()), _files(user_folder())
    return [
        *(_describe(path, True) for name, path in bundled.items() if name not in own),
        *(_describe(path, False) for path in own.values()),
    ]


def find_model(name_or_path: str | Path | None = None) -> Path:
    """Return the file of a model given by path or by name; None is the bundled default."""
    bundled, own = _files(bundled_folder()), _files(user_folder())
    if name_or_path is None:
        if not bundled:
            raise FileNotFoundError(f"no bundled model in {bundled_folder()}: install again")
        return next(iter(bundled.values()))
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix == SUFFIX:
        raise FileNotFoundError(f"no such model file: {name_or_path}")
    known = bundled | own
    if str(name_or_path) not in known:
        if path.is_dir():
            raise ValueError(f"unknown model {str(name_or_path)!r}: {_said_of_folder(path)}")
        choice = f"choose one of {', '.join(known)}, or give" if known else "give"
        raise ValueError(
            f"unknown model {str(name_or_path)!r}: {choice} a {SUFFIX} file (a training puts it "
            "into its own folder)"
        )
    return known[str(name_or_path)]


def _said_of_folder(path: Path) -> str:
    """Say what to give in place of a folder: the model in it, such as that of a training."""
    inside = _files(path)
    if not inside:
        return f"it is a folder without a {SUFFIX} file: give the file of a model, or its name"
    return f"it is a folder: give the model in it, {first_few([str(f) for f in inside.values()])}"


def _files(folder: Path) -> dict[str, Path]:
    found = sorted(folder.glob(f"*{SUFFIX}"))
    return {path.stem: path for path in found if not path.name.startswith(".")}


def _describe(path: Path, bundled: bool) -> ModelInfo:
    try:
        return ModelInfo(path.stem, path, read_card(path), bundled)
    except (ValueError, OSError) as error:
        return ModelInfo(path.stem, path, {}, bundled, problem=str(error))


def load_model(name_or_path: str | Path | DAMM | None = None, device: str = "auto") -> DAMM:
    """Load a model, in eval mode and float32; `card["sha256"]` is the checksum of its file.

    Parameters
    ----------
    name_or_path
        A model's name or file; None is the bundled default. A `DAMM` is returned as it is, moved
        where a device is named.
    device
        "cpu", "cuda", "mps", or "auto": the best that there is.

    Raises
    ------
    OSError
        If the file does not exist or cannot be read.
    ValueError
        If the name is unknown, the file is not a usable model or the device is not there.
    """
    target = resolve_device(device)
    if not (name_or_path is None or isinstance(name_or_path, str | Path)):
        if not hasattr(name_or_path, "card"):
            raise ValueError(f"a model is a name, a path or a DAMM, got {shown(name_or_path)}")
        return name_or_path if device == "auto" else name_or_path.to(target)
    path = find_model(name_or_path)
    model = read_model(path)
    model.file = str(path.absolute())
    return model.to(target)


def model_name(model: DAMM) -> str:
    """Return what a loaded model is called: as its file is, else as its card says.

    Whoever copies or renames a file goes by its new name, which the lists show.
    """
    if model.file:
        return Path(model.file).name.removesuffix(SUFFIX)
    return str(model.card.get("name") or "unnamed")


def resolve_device(device: str = "auto") -> torch.device:
    """Turn a device's name into a device that is there.

    Raises
    ------
    ValueError
        If the name is unknown, or there is no such device.
    """
    import torch

    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, available in there.items() if available)
    elif not there[device]:
        raise ValueError(
            Advice(
                f"{device} is {DEVICES[device]}, and PyTorch {torch.__version__} finds none here",
                "leave {device} out to take the fastest that there is, or install a PyTorch for it",
                parameter="device",
            )
        )
    return torch.device(device)


def import_model(path: str | Path, name: str | None = None, replace: bool = False) -> ModelInfo:
    """Check a one-file model and copy it into the user's folder, as `name` (its file's name).

    With `replace`, a model of the user's own that has this name already is replaced.

    Raises
    ------
    OSError
        If it cannot be read or copied.
    ValueError
        If it is not a usable model, or the name is taken or not fit for a file.
    """
    path = Path(path)
    checked = read_model(path)
    folder = user_folder()
    name = path.stem if name is None else name
    if not (replace and name in _files(folder)):
        check_new_name(name)
    target = folder / f"{name}{SUFFIX}"
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    copy_file(path, target, checked.card["sha256"])
    return _describe(target, bundled=False)


def export_model(name: str, out: str | Path) -> Path:
    """Copy a model, by name or file, to the file or into the folder `out`."""
    source, out = find_model(name), Path(out)
    target = out / source.name if out.is_dir() else out
    if target.suffix != SUFFIX:
        raise ValueError(f"a model file must end in {SUFFIX}, got {target}")
    copy_file(source, check_new(target))
    return target


def remove_model(name: str) -> Path:
    """Delete one of the user's own models, by name; returns the file that was deleted."""
    own = _files(user_folder())
    if name not in own:
        if name in _files(bundled_folder()):
            raise ValueError(f"model {name!r} is bundled with napari-damm and cannot be removed")
        choice = f"choose one of {', '.join(own)}" if own else "there are none of your own"
        raise ValueError(f"unknown model {name!r}: {choice}")
    own[name].unlink()
    return own[name]


def check_new_name(name: str) -> str:
    """Return `name` if a model can be imported under it.

    Raises
    ------
    ValueError
        If it is not fit for a file name, or taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a model's name is letters, digits, spaces, '-', '_' and '.', got {name[:100]!r}"
        )
    if name.endswith((SUFFIX, ".", " ")):
        raise ValueError(f"a model's name ends in a letter or digit and without {SUFFIX}: {name!r}")
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME - len(SUFFIX):
        raise ValueError(
            f"a model's name is at most {LONGEST_NAME - len(SUFFIX)} bytes long, since a file is "
            f"called so, got {name[:20]!r}..."
        )
    if name in _files(bundled_folder()) | _files(user_folder()):
        raise ValueError(f"a model named {name!r} is there already: choose another name")
    return name
