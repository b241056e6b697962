"""Opening what is to be measured.

1. A result remembers the section that it was predicted from (`recorded_section`).
2. In a picture, channels are found by name, by number, or by what such channels are usually called.
3. Regions, vessels and nuclei may come as label pictures of the same field, regions as outlines.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.analysis.particle_map import LabelImage, ParticleMap
from napari_damm.analysis.predicted import predicted_fields
from napari_damm.analysis.recorded_section import plane_of, section_of
from napari_damm.analysis.regions import Region, labelled_regions, outlined_regions
from napari_damm.analysis.sources import (
    Channel,
    MapLayers,
    MapSource,
    Source,
    sample_rasters,
    slide_map,
)
from napari_damm.slide import Raster, find_channel, guess_channel, open_slide
from napari_damm.slide.channels import listed
from napari_damm.slide.identity import file_identity
from napari_damm.slide.planes import ArraySource, LazyPlane
from napari_damm.slide.readers import open_image
from napari_damm.store import Result, open_result
from napari_damm.util.advice import Advice
from napari_damm.util.bounded_json import MOST_BYTES
from napari_damm.util.files import open_regular
from napari_damm.util.given import shown

if TYPE_CHECKING:
    from napari_damm.analysis.config import AnalyzeConfig

OUTLINES = (".geojson", ".json")


def open_source(source: Source, config: AnalyzeConfig) -> MapLayers:
    """Open a source.

    Raises
    ------
    ValueError, OSError
        If it cannot be read, lacks a channel, a pixel size or its vessels.
    """
    if isinstance(source, MapLayers):
        return source
    if not isinstance(source, MapSource):
        raise ValueError(
            f"a path, MapSource or MapLayers is measured, got {shown(source)}: give a result or a "
            "picture"
        )
    path = Path(source.path)
    if _is_result(path):
        section, side_um = _open_result(source, open_result(path), config)
    else:
        section, side_um = _open_picture(source, path)
    regions: tuple[Region, ...] = ()
    used = {**section.identity, "source": asdict(source)}
    if source.vessel_labels is not None:
        used["vessel_labels"] = file_identity(Path(source.vessel_labels))
        section = replace(section, vessel_labels=_open_labels(Path(source.vessel_labels), section))
    if source.nucleus_labels is not None:
        used["nucleus_labels"] = file_identity(Path(source.nucleus_labels))
        labels = _open_labels(Path(source.nucleus_labels), section)
        section = replace(section, nucleus_labels=labels)
    if source.regions is not None:
        used["labels"] = file_identity(Path(source.regions))
        regions = _open_regions(Path(source.regions), section, side_um)
    return MapLayers(replace(section, identity=used), regions)


def _open_regions(path: Path, section: ParticleMap, side_um: float) -> tuple[Region, ...]:
    """Open outlines (GeoJSON, in pixels of `side_um` of the section's picture) or labels."""
    if path.suffix.lower() in OUTLINES:
        return tuple(outlined_regions(path, side_um))
    regions = tuple(labelled_regions(_open_labels(path, section)))
    if not regions:
        raise ValueError(f"{path} holds no label: all its pixels are 0")
    return regions


def _open_result(
    source: MapSource, result: Result, config: AnalyzeConfig
) -> tuple[ParticleMap, float]:
    """Open a predicted map with the section of which it is, and the side of whose pixels."""
    if not result.complete:
        raise ValueError(Advice(f"{source.path} is not finished", "predict it with {resume} first"))
    slide, caution = section_of(source, result)
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
        about={"file": str(source.path), "section": slide.name, "vessels": slide.vessels.name,
               "caution": caution},
        identity={"result": dict(result.record), **slide.identity},
    )  # fmt: skip
    return section, slide.pixel_size_um


def _open_picture(source: MapSource, path: Path) -> tuple[ParticleMap, float]:
    """Open a picture with an imaged particle channel; the side of its pixels, too."""
    which = plane_of(source)
    names = open_image(path, **which).channels
    particles = _channel(path, names, source.particles_channel, "target", "particles")
    vessels = _vessels_channel(path, names, source, particles)
    if particles == vessels and source.vessel_labels is None:
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
        coarse_pixels=source.coarse_pixels,
        **which,
    )
    more = {}
    if source.perfusion_channel is not None:
        more["perfusion"] = slide.channel(source.perfusion_channel)
    about = {
        "file": str(path),
        "particles": names[particles],
        "vessels": str(source.vessel_labels or names[vessels]),
        "nuclei": source.nucleus_labels and str(source.nucleus_labels),
    }
    if nuclei is not None and source.nucleus_labels is None:
        about["nuclei"] = names[nuclei]
    name = source.name or path.name
    known = {"particles": names[particles], **slide.identity}
    image = slide.channels[particles]
    section = slide_map(slide, image, more, name=name, about=about, identity=known)
    return section, slide.pixel_size_um


def _vessels_channel(path: Path, names: tuple[str, ...], source: MapSource, particles: int) -> int:
    """Return which channel shows the vessels; where they are drawn there need not be one."""
    if source.vessel_labels is not None and source.vessels_channel is None:
        found = guess_channel(names, "vessels")
        return particles if found is None else found
    return _channel(path, names, source.vessels_channel, "vessels", "vessels")


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
    image = open_image(path)
    if len(image.channels) > 1:
        raise ValueError(
            f"{path} holds {len(image.channels)} channels: labels are one plane of whole numbers"
        )
    plane = image.planes[0][0]
    if plane.dtype.kind not in "uib":
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
