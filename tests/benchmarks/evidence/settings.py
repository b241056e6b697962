"""What is asked of the evidence, as one frozen value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from napari_damm.simulate import EVALUATION_SEEDS_FROM

PRESETS = ("internal", "external")
PARTS = ("headline", "divergence", "sampling", "trust", "read_out", "seams", "ablations")


@dataclass(frozen=True)
class Specimen:
    """A section to be simulated; `size` in px."""

    preset: str
    seed: int
    size: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.preset}-{self.seed}-{self.size}"


@dataclass(frozen=True)
class Settings:
    """Models, sections and effort.

    Parameters
    ----------
    model, device
        As `napari_damm.load_model` takes them.
    work, out
        Folder of what was measured so far; folder of the document.
    parts
        Which of `PARTS`.
    unet, gan
        Files of trained baselines; None leaves them out.
    ablations, ablation_base
        Models by name, and the full model trained as briefly as they are.
    sections, size, first_seed
        Sections per preset, their side in px (448: two by two windows), seed of the first.
    validation, validation_seed
        Sections on which the spread factor is fitted and the read-out judged: seeds of the
        training range that no training used.
    samples
        Samples that are averaged.
    fast_steps
        Steps of every prediction that does not ask for others; None = those of mode "fast".
    sampling_sections, sampling_size, steps, reference_steps
        The part "sampling": sections per preset, side, steps of the fast sampler and of the
        authors'.
    seed
        Of the noise and of the bootstrap.
    """

    work: Path
    out: Path
    model: str | None = None
    device: str = "cpu"
    parts: tuple[str, ...] = PARTS
    unet: Path | None = None
    gan: Path | None = None
    ablations: dict[str, Path] = field(default_factory=dict)
    ablation_base: Path | None = None
    sections: int = 20
    size: int = 448
    first_seed: int = EVALUATION_SEEDS_FROM
    validation: int = 10
    validation_seed: int = 9900
    samples: int = 8
    fast_steps: int | None = None
    sampling_sections: int = 4
    sampling_size: int = 512
    steps: tuple[int, ...] = (4, 8, 16, 32)
    reference_steps: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what would only fail after hours."""
        if self.first_seed < EVALUATION_SEEDS_FROM:
            raise ValueError(
                f"first_seed must be {EVALUATION_SEEDS_FROM} or more, got {self.first_seed}"
            )
        if not 0 <= self.validation_seed <= EVALUATION_SEEDS_FROM - self.validation:
            raise ValueError(f"validation seeds must be below {EVALUATION_SEEDS_FROM}")
        if self.samples < 2:
            raise ValueError(f"samples must be 2 or more, got {self.samples}")
        if bool(self.ablations) != bool(self.ablation_base):
            raise ValueError("ablations and the model they are compared with go together")
        unknown = set(self.parts) - set(PARTS)
        if unknown:
            raise ValueError(f"parts must be among {', '.join(PARTS)}, got {sorted(unknown)}")

    @property
    def held_out(self) -> list[Specimen]:
        """The sections that all judgement is on, presets taking turns."""
        return list(self._of_both(self.sections, self.size))

    @property
    def held_out_large(self) -> list[Specimen]:
        """Larger sections of the first of these seeds, for the part "sampling"."""
        return list(self._of_both(self.sampling_sections, self.sampling_size))

    @property
    def for_validation(self) -> list[Specimen]:
        """The sections that choices are made on."""
        seeds = range(self.validation_seed, self.validation_seed + self.validation)
        return [Specimen("internal", seed, self.size) for seed in seeds]

    @property
    def powers_of_two(self) -> list[int]:
        """Numbers of samples to average: 2, 4, ... up to `samples`."""
        return [2**k for k in range(1, self.samples.bit_length()) if 2**k <= self.samples]

    def _of_both(self, count: int, size: int) -> Iterator[Specimen]:
        for seed in range(self.first_seed, self.first_seed + count):
            for preset in PRESETS:
                yield Specimen(preset, seed, size)


def reduced(settings: dict[str, object]) -> Settings:
    """Return the same in small: everything runs, nothing is worth reading."""
    small = {
        "sections": 2, "size": 256, "validation": 1, "samples": 2, "fast_steps": 2,
        "sampling_sections": 1, "sampling_size": 256, "steps": (2, 4), "reference_steps": 6,
    }  # fmt: skip
    return Settings(**{**settings, **small})  # type: ignore[arg-type]
