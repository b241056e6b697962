"""From sources to sections: three images of one field, on their places in the world.

1. A slide is opened as Predict opens it; its target is one more channel, or a file of its own.
2. Of a folder, every name that stands in all three sub-folders is a section, in order of name;
   patches in numpy files lie otherwise (`npy_patches`).
3. Simulated sections are drawn when they are opened: the same seed is the same section.
4. Layers are taken as they are.

Pictures of a stain saved in colour have it spread over red, green and blue: their mean is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from napari_damm.dataset.npy_patches import (
    find_npy_patches,
    half_of_npy_patches,
    holds_npy_patches,
    open_npy_patch,
)
from napari_damm.dataset.one_stain import one_image
from napari_damm.dataset.sources import (
    ROLES,
    FolderSource,
    Region,
    RoiBox,
    SectionSource,
    SimulatedSource,
    SlideSource,
    Source,
)
from napari_damm.simulate import EVALUATION_SEEDS_FROM, training_seed
from napari_damm.simulate.many import simulate_many
from napari_damm.slide import Raster, Slide, open_beside, open_slide, slide_from_arrays
from napari_damm.slide.channels import find_channel, guess_channel, listed
from napari_damm.slide.pixel_sample import pixel_sample
from napari_damm.util.advice import Advice
from napari_damm.util.files import is_leftover
from napari_damm.util.image_names import is_named_as_image


@dataclass(frozen=True, eq=False)
class Section:
    """Three images of one field.

    Parameters
    ----------
    name
        What people call it.
    slide
        Its `vessels` are the primary image, its `nuclei` the secondary one.
    target
        The image to be predicted.
    region, roi
        The part that may be used: a mask, or a rectangle in pixels of the primary image, or all.
    folder, intensities
        Sections of one folder share it, and may share intensity limits: "folder" if so, "image" if
        not, "auto" where that depends on their size.
    use
        "split", "train" or "validation".
    target_path
        Where the target has a file of its own: `identity` knows nothing of that.
    planted
        Where the secondary image is known to mislead (1), of simulated sections.
    """

    name: str
    slide: Slide
    target: Raster
    region: Region | None = None
    roi: RoiBox | None = None
    folder: str = ""
    intensities: str = "image"
    use: str = "split"
    planted: Raster | None = None
    target_path: Path | None = None

    def __post_init__(self) -> None:
        """Check that the target shares ground with the primary image."""
        for axis in (0, 1):
            (a, b), (c, d) = (_span(raster, axis) for raster in (self.slide.vessels, self.target))
            if min(b, d) <= max(a, c):
                raise ValueError(
                    f"the target of {self.name} does not overlap its primary image: "
                    f"{'yx'[axis]} runs over {c:g}..{d:g} um in one and {a:g}..{b:g} um in the "
                    "other; give images of the same field"
                )

    def raster(self, role: str) -> Raster:
        """Return the image of a role."""
        return {
            "primary": self.slide.vessels,
            "secondary": self.slide.nuclei,
            "target": self.target,
        }[role]

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this input from another, plain JSON values."""
        shapes = {role: list(self.raster(role).shape) for role in ROLES}
        return {"name": self.name, "shape": shapes["target"], **self.slide.identity}

    @cached_property
    def pixels(self) -> dict[str, str]:
        """What both inputs are known by in any file; empty where one is blank, or unreadable."""
        slide = self.slide
        try:
            found = {"vessels": pixel_sample(slide.vessels), "nuclei": pixel_sample(slide.nuclei)}
        except (OSError, ValueError):  # whoever needs them will say so
            return {}
        return found if all(found.values()) else {}


def open_sections(source: Source, evaluation: bool = False) -> Iterator[Section]:
    """Open the sections of a source, one after the other.

    `evaluation` allows the simulator's reserved seeds, which no training may see.

    Raises
    ------
    ValueError, OSError
        In one sentence, where an image is missing, unusable or does not fit the others.
    """
    match source:
        case SlideSource():
            yield _open_slide(source)
        case FolderSource():
            yield from _open_folder(source)
        case SimulatedSource():
            yield from _simulate(source, evaluation)
        case SectionSource():
            yield _of_arrays(source)
        case _:
            raise ValueError(
                "sections come from a FolderSource, SlideSource, SimulatedSource or SectionSource, "
                f"got {source!r:.100}"
            )


def _open_slide(source: SlideSource) -> Section:
    slide = open_slide(
        source.path,
        source.secondary,
        source.primary_channel,
        source.secondary_channel,
        source.pixel_size_um,
        coarse_pixels=source.coarse_pixels,
        z=source.z,
        t=source.t,
        image=source.image,
    )
    if source.target is None:
        target = _own_target(slide, source.target_channel, str(source.path))
    else:
        target = open_beside(slide, source.target, source.target_channel, source.pixel_size_um)
    slide = _with_target(slide, target)
    own = None if source.target is None else Path(source.target)
    return Section(slide.name, slide, target, roi=source.roi, use=source.use, target_path=own)


def _own_target(slide: Slide, wanted: str | int | None, path: str) -> Raster:
    names = [raster.name for raster in slide.channels]
    index = guess_channel(names, "target") if wanted is None else find_channel(names, wanted, path)
    if index is None:
        raise ValueError(
            Advice(
                f"cannot tell which channel of {path} is the target",
                "give {target_channel}, one of {channels}",
                channels=listed(names),
            )
        )
    target = slide.channels[index]
    if target in (slide.vessels, slide.nuclei):
        raise ValueError(
            f"the target is the same channel as an input, {target.name!r} of {path}: give another"
        )
    return target


def _with_target(slide: Slide, target: Raster) -> Slide:
    """Return the slide, known by its target as well: a training on another is another."""
    before = slide.identify

    def identify() -> dict[str, Any]:
        return {**before(), "target": {"channel": target.name, "shape": list(target.shape)}}

    return replace(slide, identify=identify)


def _without(folder: Path, name: str, role: str) -> str:
    """Say that a folder lacks a sub-folder, and what it has in its place."""
    if half := half_of_npy_patches(folder):
        return half
    missing = f"{folder} has no sub-folder {name!r} (the {role} image): "
    there = sorted(p for p in folder.iterdir() if not is_leftover(p.name))
    if folders := [p.name for p in there if p.is_dir() and ".zarr" not in p.suffixes]:
        return f"{missing}it has {', '.join(folders[:6])}"
    if images := [p for p in there if is_named_as_image(p)]:
        return (
            f"{missing}it holds images; if each of them has all three stains as channels, give "
            f"the images themselves, such as {images[0]}"
        )
    return f"{missing}it has none"


def _open_folder(source: FolderSource) -> Iterator[Section]:
    folder = Path(source.path)
    modalities = {role: getattr(source, role) for role in ROLES}
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: check the path")
    if not (folder / source.primary).is_dir() and holds_npy_patches(folder):
        yield from _open_npy_folder(folder, source)
        return
    files: dict[str, dict[str, Path]] = {}
    for role, name in modalities.items():
        inside = folder / name
        if not inside.is_dir():
            raise FileNotFoundError(_without(folder, name, role))
        files[role] = {p.name: p for p in sorted(inside.iterdir()) if not is_leftover(p.name)}
    if not any(files.values()):
        raise ValueError(f"{folder} holds no images: put equally named files into its sub-folders")
    for role, named in files.items():
        for other, others in files.items():
            alone = sorted(set(named) - set(others))
            if alone:
                raise ValueError(
                    f"{alone[0]} ({len(alone)} in all) stands in {folder / modalities[role]} but "
                    f"not in {folder / modalities[other]}: give every image in all three"
                )
    for name in files["primary"]:
        paths = {role: files[role][name] for role in ROLES}
        section = _of_files(name, paths, source)
        yield replace(section, folder=str(folder), intensities=source.intensities)


def _open_npy_folder(folder: Path, source: FolderSource) -> Iterator[Section]:
    """Yield the patches of numpy files; those of one section may share intensity limits."""
    for patch in find_npy_patches(folder, is_leftover):
        slide, target = open_npy_patch(patch, source.pixel_size_um)
        family = f"{folder} (section {patch.section})"
        section = Section(slide.name, slide, target, folder=family, use=source.use)
        yield replace(section, intensities=source.intensities)


def _of_files(name: str, paths: Mapping[str, Path], source: FolderSource) -> Section:
    slide = open_slide(
        paths["primary"],
        paths["secondary"],
        vessels_channel=0,
        nuclei_channel=0,
        pixel_size_um=source.pixel_size_um,
        coarse_pixels=source.coarse_pixels,
    )
    target = open_beside(slide, paths["target"], 0, source.pixel_size_um)
    primary = one_image(paths["primary"], slide.vessels)
    secondary = one_image(paths["secondary"], slide.nuclei)
    slide = replace(slide, vessels=primary, nuclei=secondary)
    target = one_image(paths["target"], target)
    for role, raster in (("secondary", secondary), ("target", target)):
        if raster.shape != primary.shape and raster.pixel_size_um == primary.pixel_size_um:
            raise ValueError(
                f"{paths[role]} is {raster.shape[0]} x {raster.shape[1]} px and {paths['primary']} "
                f"{primary.shape[0]} x {primary.shape[1]}: give images of the same field"
            )
    slide = _with_target(slide, target)
    return Section(name, slide, target, use=source.use, target_path=paths["target"])


def _simulate(source: SimulatedSource, evaluation: bool) -> Iterator[Section]:
    last = source.first_seed + source.sections - 1
    if not evaluation:
        for seed in (source.first_seed, last):
            training_seed(seed)
    elif source.first_seed < EVALUATION_SEEDS_FROM:
        raise ValueError(
            f"seeds below {EVALUATION_SEEDS_FROM} are for training, evaluate on others, "
            f"got {source.first_seed}"
        )
    seeds = range(source.first_seed, last + 1)
    for drawn in simulate_many(source.size, seeds, source.preset):
        seed = drawn.seed
        images = {
            "primary": drawn.vessels,
            "secondary": drawn.nuclei,
            "target": drawn.nanoparticles,
        }
        name = f"simulated {source.preset} {seed}"
        section = _of_arrays(SectionSource(images, drawn.pixel_size_um, name=name, use=source.use))
        identity = {"kind": "simulated", "preset": source.preset, "seed": seed, "size": source.size}
        slide = replace(section.slide, identify=partial(dict, identity))
        planted = replace(section.target, name="divergence", planes=(drawn.divergence,))
        yield replace(section, slide=slide, planted=planted)


def _of_arrays(source: SectionSource) -> Section:
    slide = slide_from_arrays(
        source.images, source.pixel_size_um, source.origin, "primary", "secondary", source.name
    )
    target = slide.channel("target")
    before, pixels = slide.identify, target

    def identify() -> dict[str, Any]:
        from napari_damm.slide.identity import identify_arrays

        return {**before(), "target": identify_arrays({"target": pixels})["target"]}

    slide = replace(slide, identify=identify)
    return Section(source.name, slide, target, source.region, use=source.use)


def without_names(identity: Any) -> Any:
    """Return an identity without names, paths and times: what is copied or renamed is the same."""
    if isinstance(identity, Mapping):
        return {
            key: without_names(value)
            for key, value in identity.items()
            if key not in ("name", "path", "channel", "mtime_ns")
        }
    return identity


def _span(raster: Raster, axis: int) -> tuple[float, float]:
    return raster.origin[axis], raster.origin[axis] + raster.extent_um[axis]
