"""Where particle maps come from: results, pictures with a particle channel, arrays.

All become a `ParticleMap` on one grid: the pixels of the particle map, or 0.5 um where those are
finer (distances in tissue are tens of um). `opening` opens files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.particle_map import Mask, ParticleMap, cells_of
from napari_damm.analysis.regions import Region
from napari_damm.analysis.unseen import unseen_cells
from napari_damm.slide import Raster, Slide, read_region, tissue_mask
from napari_damm.slide.planes import ArraySource, LazyPlane
from napari_damm.store import Result
from napari_damm.store.layout import SAMPLE_PX
from napari_damm.util.tiling import CELL, Box

FINEST_UM = 0.5
SAME_PLACE_PX = 1.0

Channel = str | int


@dataclass(frozen=True)
class MapSource:
    """A file with particles: a result of `predict`, or a picture with a particle channel.

    Parameters
    ----------
    path
        The result (.ome.zarr) or the picture.
    vessels_channel, nuclei_channel, particles_channel, perfusion_channel
        Name (in any case) or number from 0; None = the one with a usual name. Of a result,
        `particles_channel` is an imaged channel of its section, to compare it with.
    pixel_size_um
        Side of a pixel of the picture, where it states none or a wrong one.
    image, z, t
        Of a picture: which of several images in the file, which z plane and time point, as for
        `open_slide`. A result remembers them.
    section
        Of a result: the picture that it was predicted from, where that has moved.
    regions
        A label picture of the same field: each number is a region. Or GeoJSON, as QuPath exports
        it, in pixels of the picture: each annotation is one, called as it or its class.
    name
        What tables call it; None = the file's name.
    vessel_labels, nucleus_labels
        Label pictures of the same field, drawn or segmented elsewhere: what is not 0 is vessel;
        each number is a nucleus. Without, both are found in their channels.
    coarse_pixels
        That a `pixel_size_um` above 25 is meant; of a result, the prediction was told.
    """

    path: str | Path
    vessels_channel: Channel | None = None
    nuclei_channel: Channel | None = None
    particles_channel: Channel | None = None
    perfusion_channel: Channel | None = None
    pixel_size_um: float | None = None
    section: str | Path | None = None
    regions: str | Path | None = None
    name: str | None = None
    image: str | int | None = None
    z: int | None = None
    t: int | None = None
    vessel_labels: str | Path | None = None
    nucleus_labels: str | Path | None = None
    coarse_pixels: bool = False


@dataclass(frozen=True, eq=False)
class MapLayers:
    """A particle map at hand, with its vessels and regions.

    Parameters
    ----------
    section
        The map; `slide_map` makes one of rasters, `array_map` of arrays.
    regions
        Where numbers are wanted besides all tissue.
    """

    section: ParticleMap
    regions: tuple[Region, ...] = ()


Source = MapSource | MapLayers


def slide_map(
    slide: Slide,
    particles: Raster,
    more: Mapping[str, Raster] | None = None,
    least_um: float = FINEST_UM,
    samples: Sequence[Raster] = (),
    **given: Any,
) -> ParticleMap:
    """Make a map of a slide's vessels and nuclei and a particle channel.

    Parameters
    ----------
    slide
        The section; where its nuclei are its vessels or the particles, there are no nuclei.
    particles
        The map; its grid is the map's.
    more
        Further images: "perfusion", "imaged".
    least_um
        Finer pixels than this are averaged.
    samples
        The map's samples, each on its own.
    given
        Further fields of `ParticleMap`, such as `vessel_labels` or `record`; masks of cells and
        `areas` are on the pixels of `particles`.
    """
    um = max(particles.pixel_size_um, least_um, FINEST_UM)
    shape = tuple(max(1, round(extent / um)) for extent in particles.extent_um)
    rasters = {"particles": particles, "vessels": slide.vessels, **(more or {})}
    if slide.nuclei is not slide.vessels and slide.nuclei is not particles:
        rasters["nuclei"] = slide.nuclei
    origin = particles.origin
    read: dict[str, Callable[[Box], NDArray[np.float32]]] = {
        role: partial(_read, raster, um, origin, (shape[0], shape[1]))
        for role, raster in rasters.items()
    }
    given["samples"] = tuple(
        partial(_read, raster, um, origin, (shape[0], shape[1])) for raster in samples
    )
    if "tissue" in given:
        given |= _on_grid(given, particles.pixel_size_um / um, (shape[0], shape[1]))
    else:
        same = all(
            abs(a - b) <= SAME_PLACE_PX * um
            for a, b in zip(
                (*slide.origin, *slide.vessels.extent_um),
                (*origin, *particles.extent_um),
                strict=True,
            )
        )
        # Elsewhere than on the map's own ground, tissue is what the map and the vessels show.
        of = slide if same else replace(slide, vessels=particles, nuclei=slide.vessels)
        mask, cell_px = tissue_mask(of, um)
        given |= {"tissue": _fitted(mask, (shape[0], shape[1]), cell_px), "cell_px": cell_px}
    name = given.pop("name", slide.name)
    found = ParticleMap(name, (shape[0], shape[1]), (um, um), read, origin=origin, **given)
    return replace(found, unseen=unseen_cells(found, rasters))


def sample_rasters(result: Result, origin: tuple[float, float] | None = None) -> tuple[Raster, ...]:
    """Return the samples that a result keeps, each in pixels of four of its own.

    `origin` is where the result lies now, in um (y, x); None: where it lay.
    """
    um = SAMPLE_PX * result.pixel_size_um
    return tuple(
        Raster(f"sample {k}", (LazyPlane(ArraySource(sample)),), um, origin or result.origin)
        for k, sample in enumerate(result.samples)
    )


def array_map(
    images: Mapping[str, Any],
    pixel_um: float | tuple[float, float],
    tissue: Mask | None = None,
    name: str = "arrays",
    **given: Any,
) -> ParticleMap:
    """Make a map of images (y, x) of one shape: "particles", "vessels" and so on.

    Parameters
    ----------
    images
        By role, as in `ParticleMap`; numpy, dask or zarr.
    pixel_um
        Side of a pixel in um, or (height, width) where pixels are oblong.
    tissue
        Pixels (y, x) that are tissue; None = all.
    name, given
        What tables call it; further fields of `ParticleMap`.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    shapes = {role: tuple(image.shape) for role, image in images.items()}
    if tissue is not None:
        shapes["tissue"] = tissue.shape
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{role} {shape}" for role, shape in shapes.items())
        raise ValueError(f"images of one section must have one shape, got {told}")
    height, width = next(iter(shapes.values()))
    sides = pixel_um if isinstance(pixel_um, tuple) else (pixel_um, pixel_um)
    if tissue is None:
        given.setdefault("cell_px", CELL)
        cells = -(-height // given["cell_px"]), -(-width // given["cell_px"])
        tissue = np.ones(cells, bool)
    else:
        given["cell_px"] = 1
    read = {role: partial(_slice, image) for role, image in images.items()}
    return ParticleMap(name, (height, width), sides, read, tissue, **given)


def _on_grid(given: Mapping[str, Any], factor: float, shape: tuple[int, int]) -> dict[str, Any]:
    """Return masks of cells, and areas, on a grid of `factor` pixels for each of theirs."""
    if factor == 1:
        return {}
    cell_px = factor * given.get("cell_px", CELL)
    dy, dx = given.get("cells_origin", (0, 0))
    origin = (dy * factor, dx * factor)
    wanted = cells_of(shape, cell_px, origin)
    found: dict[str, Any] = {"cell_px": cell_px, "cells_origin": origin}
    for name in ("tissue", "ground", "trusted"):
        if given.get(name) is not None:
            found[name] = _grown(given[name], wanted)
    if given.get("areas") is not None:
        found["areas"] = given["areas"].scaled(factor)
    return found


def _fitted(mask: Mask, shape: tuple[int, int], cell_px: int) -> Mask:
    """Return a mask with as many cells as a shape needs; the model grid may have a pixel more."""
    return _grown(mask, cells_of(shape, cell_px))


def _grown(mask: Mask, wanted: tuple[int, int]) -> Mask:
    """Return a mask with so many cells (rows, cols); those it lacks are as their neighbours."""
    grown = [(0, max(0, n - m)) for n, m in zip(wanted, mask.shape, strict=True)]
    fitted: Mask = np.pad(mask, grown, mode="edge")[: wanted[0], : wanted[1]]
    return fitted


def _read(
    raster: Raster, um: float, origin: tuple[float, float], shape: tuple[int, int], box: Box
) -> NDArray[np.float32]:
    return read_region(raster, box, um, origin, shape)


def _slice(image: Any, box: Box) -> NDArray[Any]:
    return np.asarray(image[box.slices])
