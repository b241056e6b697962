"""Opening what is to be measured.

1. A result remembers the section that it was predicted from: vessels and nuclei are read from
   there, and refused where that file has changed.
2. In a picture, channels are found by name, by number, or by what such channels are usually called.
3. Regions may come as a label picture of the same field.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.analysis.particle_map import LabelImage, ParticleMap
from napari_damm.analysis.predicted import predicted_fields
from napari_damm.analysis.regions import Region, labelled_regions
from napari_damm.analysis.sources import (
    Channel,
    MapLayers,
    MapSource,
    Source,
    sample_rasters,
    slide_map,
)
from napari_damm.engine.reproduction import recorded_plane
from napari_damm.slide import Raster, Slide, find_channel, guess_channel, open_slide
from napari_damm.slide.channels import listed
from napari_damm.slide.identity import file_identity
from napari_damm.slide.planes import ArraySource, LazyPlane
from napari_damm.slide.readers import open_image
from napari_damm.store import Result, open_result
from napari_damm.util.advice import Advice
from napari_damm.util.bounded_json import MOST_BYTES
from napari_damm.util.files import open_regular

if TYPE_CHECKING:
    from napari_damm.analysis.config import AnalyzeConfig

REMEDY = "give the picture it was predicted from as {section}"


def open_source(source: Source, config: AnalyzeConfig) -> MapLayers:
    """Open a source.

    Raises
    ------
    ValueError, OSError
        If it cannot be read, lacks a channel, a pixel size or its vessels.
    """
    if isinstance(source, MapLayers):
        return source
    path = Path(source.path)
    if _is_result(path):
        opened = _open_result(source, open_result(path), config)
    else:
        opened = _open_picture(source, path)
    regions: tuple[Region, ...] = ()
    used = {**opened.section.identity, "source": asdict(source)}
    if source.regions is not None:
        used["labels"] = file_identity(Path(source.regions))
        labels = _open_labels(Path(source.regions), opened.section)
        regions = tuple(labelled_regions(labels))
        if not regions:
            raise ValueError(f"{source.regions} holds no label: all its pixels are 0")
    return MapLayers(replace(opened.section, identity=used), regions)


def _open_result(source: MapSource, result: Result, config: AnalyzeConfig) -> MapLayers:
    """Open a predicted map with the section that it was predicted from."""
    if not result.complete:
        raise ValueError(Advice(f"{source.path} is not finished", "predict it with {resume} first"))
    slide = _section_of(source, result)
    plane = LazyPlane(ArraySource(result.np))
    particles = Raster("nanoparticles", (plane,), result.pixel_size_um, result.origin)
    fields = predicted_fields(result, slide, particles, config.trusted_uncertainty)
    if not fields["tissue"].any():
        raise ValueError(f"{source.path} holds no predicted tissue: nothing can be measured")
    more = {}
    if source.particles_channel is not None:
        more["imaged"] = slide.channel(source.particles_channel)
    if source.perfusion_channel is not None:
        more["perfusion"] = slide.channel(source.perfusion_channel)
    section = slide_map(
        slide, particles, more, name=source.name or Path(source.path).name, record=result.record,
        samples=sample_rasters(result), **fields,
        about={"file": str(source.path), "section": slide.name, "vessels": slide.vessels.name},
        identity={"result": dict(result.record), **slide.identity},
    )  # fmt: skip
    return MapLayers(section)


def _section_of(source: MapSource, result: Result) -> Slide:
    """Open the picture that a result was predicted from.

    Raises
    ------
    ValueError
        If it was predicted from arrays, or the file has changed.
    OSError
        If the file is not there any more.
    """
    known = result.record.get("input", {})
    vessels, nuclei = known.get("vessels", {}), known.get("nuclei", {})
    if known.get("kind") != "files":
        # its channels have the names of the roles, whatever the picture calls them
        vessels, nuclei = {"pixel_size_um": vessels.get("pixel_size_um")}, {}
    if source.section is None and known.get("kind") != "files":
        raise ValueError(Advice(f"{source.path} was predicted from layers or arrays", REMEDY))
    path = Path(source.section or vessels["path"])
    if not path.exists():
        problem = f"{path}, which {source.path} was predicted from, is not there"
        raise FileNotFoundError(Advice(problem, REMEDY))
    beside = _nuclei_file(source, vessels, nuclei)
    channel = nuclei.get("channel")
    if beside is not None and channel is not None:
        channel = str(channel).removesuffix(f" ({Path(beside).name})")
    chosen = recorded_plane({"vessels": vessels, "nuclei": nuclei}) | _plane_of(source)
    slide = open_slide(
        path,
        nuclei=beside,
        vessels_channel=_first(source.vessels_channel, vessels.get("channel")),
        nuclei_channel=_first(source.nuclei_channel, channel),
        pixel_size_um=_first(source.pixel_size_um, vessels.get("pixel_size_um")),
        **chosen,
    )
    now = slide.identity.get("vessels", {}).get("sha256_ends")
    if source.section is None and now != vessels.get("sha256_ends"):
        problem = f"{path} has changed since {source.path} was predicted from it"
        raise ValueError(Advice(problem, f"predict it again, or {REMEDY}"))
    return slide


def _plane_of(source: MapSource) -> dict[str, Any]:
    """Return which image of a file, and which plane of a stack, as far as it is said."""
    said = {"image": source.image, "z": source.z, "t": source.t}
    return {name: value for name, value in said.items() if value is not None}


def _nuclei_file(
    source: MapSource, vessels: Mapping[str, Any], nuclei: Mapping[str, Any]
) -> Path | None:
    """Return the file of the nuclei, where they have one of their own.

    Where the picture has moved, it is looked for beside it.
    """
    there = nuclei.get("path")
    if there is None or there == vessels.get("path"):
        return None
    if source.section is not None:
        moved = Path(source.section).parent / Path(there).name
        if moved.exists():
            return moved
    return Path(there)


def _open_picture(source: MapSource, path: Path) -> MapLayers:
    """Open a picture with an imaged particle channel."""
    which = _plane_of(source)
    names = open_image(path, **which).channels
    particles = _channel(path, names, source.particles_channel, "target", "particles")
    vessels = _channel(path, names, source.vessels_channel, "vessels", "vessels")
    if particles == vessels:
        raise ValueError(
            Advice(
                f"particles and vessels are the same channel {names[vessels]!r} of {path}",
                "give two of {choices}",
                choices=listed(names),
            )
        )
    nuclei = guess_channel(names, "nuclei")
    if source.nuclei_channel is not None:
        nuclei = find_channel(names, source.nuclei_channel, str(path))
    if nuclei in (particles, vessels):
        nuclei = None
    slide = open_slide(
        path,
        vessels_channel=vessels,
        nuclei_channel=particles if nuclei is None else nuclei,
        pixel_size_um=source.pixel_size_um,
        **which,
    )
    more = {}
    if source.perfusion_channel is not None:
        more["perfusion"] = slide.channel(source.perfusion_channel)
    about = {
        "file": str(path),
        "particles": names[particles],
        "vessels": names[vessels],
        "nuclei": None if nuclei is None else names[nuclei],
    }
    name = source.name or path.name
    known = {"particles": names[particles], **slide.identity}
    return MapLayers(
        slide_map(slide, slide.channels[particles], more, name=name, about=about, identity=known)
    )


def _channel(
    path: Path, names: tuple[str, ...], wanted: Channel | None, role: str, called: str
) -> int:
    if wanted is not None:
        return find_channel(names, wanted, str(path))
    found = guess_channel(names, role)
    if found is None:
        problem = f"cannot tell which channel of {path} shows the {called}"
        remedy = f"give {{{called}_channel}}, one of {{choices}}"
        raise ValueError(Advice(problem, remedy, choices=listed(names)))
    return found


def _open_labels(path: Path, section: ParticleMap) -> LabelImage:
    """Open a label picture of the section's field."""
    plane = open_image(path).planes[0][0]
    if plane.dtype.kind not in "ui":
        raise ValueError(f"{path} holds {plane.dtype} pixels: labels must be whole numbers")
    extents = [n * um for n, um in zip(section.shape, section.pixel_um, strict=True)]
    height, width = (extent / n for extent, n in zip(extents, plane.shape, strict=True))
    if abs(height / width - section.pixel_um[0] / section.pixel_um[1]) > 0.02:
        raise ValueError(
            f"sizes differ: {path} is {plane.shape[0]} x {plane.shape[1]} px, {section.name} "
            f"{section.shape[0]} x {section.shape[1]}: give labels of the same field"
        )
    return LabelImage(plane, (height, width), section.origin)


def _is_result(path: Path) -> bool:
    with suppress(OSError), open_regular(path / "zarr.json") as file:
        return b"napari_damm_store" in file.read(MOST_BYTES)
    return False


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)
