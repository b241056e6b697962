"""A result that describes itself to other programs: RO-Crate metadata in its folder.

1. The folder of the result is the crate, as in the metadata challenge of OME-NGFF: one file more,
   `ro-crate-metadata.json`, that goes wherever the folder goes.
2. It follows the Process Run Crate profile 0.5 of Workflow Run RO-Crate: which program made the
   result, when, of which images and model, with which settings.
3. Everything is taken from the job record, and all that determines the result is in it. Folders of
   this machine are left out of this file (the record in `zarr.json` has them); whose data it is,
   and under which licence, only its owner can say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.util.errors import disk_full_named
from napari_damm.util.files import written_whole

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

FILE = "ro-crate-metadata.json"
VERSION = "1.1"  # of RO-Crate: the one that the profile stands on
PROFILES = (
    (
        "https://w3id.org/ro/wfrun/process/0.5",
        {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
    ),
    ("https://ngff.openmicroscopy.org/0.5", {"@type": "CreativeWork", "name": "OME-Zarr"}),
)
PROGRAM = "https://github.com/napari-damm/napari-damm"
NO_LICENCE = "Not stated: ask whoever made these images"
MISSING = "RO-Crate needs the library rocrate: pip install 'napari-damm[rocrate]'"
PARTS = {
    "np": "The nanoparticle map, relative intensity, a pyramid of float16",
    "np_std": "The standard deviation of the nanoparticle map over the samples",
    "samples": "Each sample on its own, means of 4 x 4 pixels",
    "uncertainty": "How far vessels and nuclei disagree, 0 to 1, per cell of 32 px",
    "branch": "Per cell of 32 px: 0 not predicted, 1 uni-modal, 2 multi-modal",
    "familiarity": "How familiar the images are to the model, 0 to 1, per cell of 32 px",
}
NO_SETTINGS = ("input", "model")
"""What of a job's key has an entity of its own."""


def can_write_crates() -> bool:
    """Tell whether the library is installed."""
    return find_spec("rocrate") is not None


def check_crates() -> None:
    """Refuse where the library is not installed.

    Raises
    ------
    ValueError
        With the command that installs it.
    """
    if not can_write_crates():
        raise ValueError(MISSING)


def write_crate(path: str | Path, license: str | None = None) -> Path:
    """Describe a finished result as an RO-Crate, in `ro-crate-metadata.json` in its folder.

    Parameters
    ----------
    path
        The result (.ome.zarr). What an earlier call wrote there is replaced.
    license
        Address of the licence of the data, such as "https://spdx.org/licenses/CC-BY-4.0".

    Returns
    -------
    The file.

    Raises
    ------
    ValueError
        If rocrate is not installed, or the result is not finished.
    OSError
        If there is no result, or the file cannot be written.
    """
    check_crates()
    from napari_damm.store import open_result

    result = open_result(path)
    if not result.complete or not result.record.get("finished"):
        raise ValueError(f"{path} is not finished: predict it to its end first")
    folder = Path(path)
    crate = _crate(folder, result.record, license)
    file = folder / FILE
    with (
        disk_full_named("the RO-Crate metadata", file, "free some space"),
        written_whole(file) as stream,
    ):
        stream.write(json.dumps(crate.metadata.generate(), indent=2).encode())
    return file


def _crate(folder: Path, record: Mapping[str, Any], license: str | None) -> ROCrate:
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version=VERSION)
    images = [_add(crate, *each) for each in _images(record)]
    root, model = crate.root_dataset, record.get("model") or {}
    root["conformsTo"] = [_add(crate, *each) for each in PROFILES]
    called = dict.fromkeys(image["name"] for image in images)
    names = " and ".join(called) or "layers in napari"
    root["name"] = f"Predicted nanoparticle distribution of {names}"
    root["description"] = (
        f"Maps of a tissue section on a grid of {record.get('pixel_size_um')} um, predicted from "
        f"vessels and nuclei by the model {model.get('name')} in mode {record.get('mode')}; "
        f"trust: {(record.get('trust') or {}).get('verdict', 'not assessed')}"
    )
    root["datePublished"] = _iso(record["finished"])
    root["license"] = license or NO_LICENCE
    used = [_add(crate, *each) for each in (_model(model), *_settings(record))]
    action = crate.add_action(
        _add(crate, *_program(record.get("versions") or {})),
        identifier="#prediction",
        object=images + used,
        result=list(_parts(crate, folder)),
        properties={
            "name": "Prediction of the nanoparticle distribution",
            "description": "napari-damm predict, or the widget Predict nanoparticles",
            "startTime": _iso(record.get("started")),
            "endTime": _iso(record["finished"]),
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    root["mentions"] = action
    return crate


def _add(crate: ROCrate, name: str, properties: Mapping[str, Any]) -> Any:
    from rocrate.model import ContextEntity

    return crate.add(ContextEntity(crate, name, properties=dict(properties)))


def _parts(crate: ROCrate, folder: Path) -> Iterator[Any]:
    for name, meaning in PARTS.items():
        if (folder / name).is_dir():
            about = {"name": name, "description": meaning}
            yield crate.add_dataset(dest_path=name, properties=about)
    meaning = "Metadata of OME-Zarr, and the whole job record in attributes.napari_damm"
    about = {"name": "zarr.json", "encodingFormat": "application/json", "description": meaning}
    yield crate.add_file(dest_path="zarr.json", properties=about)


def _program(versions: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return PROGRAM, {
        "@type": "SoftwareApplication",
        "name": "napari-damm",
        "url": PROGRAM,
        "softwareVersion": versions.get("napari-damm", "unknown"),
        "softwareRequirements": [f"{n} {v}" for n, v in versions.items() if n != "napari-damm"],
    }


def _images(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the files that the section was read from, by size and hash; none for open layers."""
    given = record.get("input") or {}
    if given.get("kind") != "files":
        return
    files: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for role in ("vessels", "nuclei"):
        about = given.get(role) or {}
        if name := about.get("name") or Path(about.get("path", "")).name:
            key = about.get("path", name)
            _, channels = files.setdefault(key, ({**about, "name": name}, []))
            channels.append(f"{role}: channel {about.get('channel', 'unknown')}")
    for number, (about, channels) in enumerate(files.values(), 1):
        yield (
            f"#image-{number}",
            {
                "@type": "CreativeWork",
                "name": about["name"],
                "description": "; ".join(channels),
                "contentSize": str(about.get("size", "unknown")),
                "identifier": f"sha256 of {about.get('hashed', 'its ends')}: {_hash_of(about)}",
            },
        )


def _hash_of(about: Mapping[str, Any]) -> str:
    return str(about.get("sha256_content") or about.get("sha256_ends") or "unknown")


def _model(model: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return "#model", {
        "@type": "CreativeWork",
        "name": f"model {model.get('name')}",
        "identifier": f"sha256 of its weights and card: {model.get('sha256')}",
    }


def _settings(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    from napari_damm.engine.provenance import KEY

    for name in (each for each in KEY if each not in NO_SETTINGS):
        value = record.get(name)
        if value is not None:
            plain = value if isinstance(value, str | int | float) else json.dumps(value)
            yield f"#{name}", {"@type": "PropertyValue", "name": name, "value": plain}


def _iso(time: Any) -> str:
    """Return a record's time with the colon that ISO 8601 wants in the zone."""
    text = str(time)
    return f"{text[:-2]}:{text[-2:]}" if text[-5:-4] in ("+", "-") else text
