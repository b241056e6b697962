"""What was found of one section, kept on disk while a batch goes on.

1. An uncompressed .npz: numbers and names as JSON, pictures as arrays. It holds no code, and no
   more than its size.
2. `KeptSections` is the folder NAME.part beside a report that is not finished: a batch that was cut
   off takes from there what is of the same section, settings and version. What is damaged or of
   something else is measured again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.analysis.agreement import Agreement
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.group_table import Member
from napari_damm.analysis.report import MeasureRow, ProfileRow, SectionFacts, Thumbnail
from napari_damm.util.files import open_regular, replace_file
from napari_damm.util.version import __version__

PART = ".part"
_PAIRS = ("shape", "pixel_um")
_THUMBNAIL = ("particles", "vessels")
_AGREEMENT = ("blocks", "difference")


@dataclass(frozen=True, eq=False)
class SectionFindings:
    """What was found of one section: facts, a row per region and measure, profiles, remarks."""

    facts: SectionFacts
    rows: Sequence[MeasureRow]
    profiles: Sequence[ProfileRow]
    notes: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """Return all of it as the content of a file."""
        facts, thumbnail = self.facts, self.facts.thumbnail
        content = {
            "facts": facts.to_dict(),
            "rows": [asdict(row) for row in self.rows],
            "profiles": [asdict(row) for row in self.profiles],
            "notes": list(self.notes),
            "extent_um": None if thumbnail is None else thumbnail.extent_um,
        }
        text = json.dumps(content, default=_plain)
        arrays = {"content": np.frombuffer(text.encode(), np.uint8)}
        for names, given in ((_THUMBNAIL, thumbnail), (_AGREEMENT, facts.agreement)):
            arrays |= {name: getattr(given, name) for name in names if given is not None}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> SectionFindings:
        """Read back what `to_bytes` returned.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("compressed")
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return _from_arrays({name: arrays[name] for name in arrays.files})
        except (KeyError, TypeError, ValueError, zipfile.BadZipFile, RecursionError) as error:
            raise ValueError(f"not what was found of a section ({error})") from error


def _from_arrays(arrays: Mapping[str, Any]) -> SectionFindings:
    content = json.loads(arrays["content"].tobytes())
    facts: dict[str, Any] = dict(content["facts"])
    agreement = facts.pop("agreement")
    if agreement is not None:
        own = {name: arrays[name] for name in _AGREEMENT}
        pairs = {name: tuple(agreement[name]) for name in ("pixel_um", "scaled_by")}
        agreement = Agreement(**{**agreement, **pairs, **own})
    thumbnail = None
    if content["extent_um"] is not None:
        height, width = content["extent_um"]
        thumbnail = Thumbnail(arrays["particles"], arrays["vessels"], (height, width))
    facts |= {name: tuple(facts[name]) for name in _PAIRS}
    facts["cells_by_distance"] = tuple(facts["cells_by_distance"])
    return SectionFindings(
        SectionFacts(**facts, agreement=agreement, thumbnail=thumbnail),
        [MeasureRow(**row) for row in content["rows"]],
        [ProfileRow(**row) for row in content["profiles"]],
        list(content["notes"]),
    )


def kept_beside(report: Path) -> Path:
    """Return the folder in which findings wait for a report; it may not be there."""
    return report.with_name(report.name + PART)


class KeptSections:
    """The folder in which findings of sections wait for the report; None keeps nothing."""

    def __init__(self, report: Path | None, config: AnalyzeConfig) -> None:
        self.folder = None if report is None else kept_beside(report)
        self.settings = {k: v for k, v in config.to_dict().items() if k != "tile_px"}

    def take(
        self, name: str, identity: Mapping[str, Any], member: Member
    ) -> SectionFindings | None:
        """Return what was found of a section before, or None."""
        place = self._place(name, identity, member)
        if place is None:
            return None
        try:
            with open_regular(place) as stream:
                return SectionFindings.from_bytes(stream.read())
        except (OSError, ValueError):
            return None

    def keep(
        self, found: SectionFindings, name: str, identity: Mapping[str, Any], member: Member
    ) -> None:
        """Keep what was found of a section; where that cannot be written, nothing is kept."""
        place = self._place(name, identity, member)
        if place is not None:
            with suppress(OSError):
                place.parent.mkdir(exist_ok=True)
                replace_file(place, found.to_bytes())

    def clear(self, names: Sequence[tuple[str, Mapping[str, Any], Member]]) -> None:
        """Remove what was kept of these sections, and the folder if nothing else is in it."""
        with suppress(OSError):
            for each in names:
                place = self._place(*each)
                if place is not None:
                    place.unlink(missing_ok=True)
            if self.folder is not None:
                self.folder.rmdir()

    def _place(self, name: str, identity: Mapping[str, Any], member: Member) -> Path | None:
        """Return the file of a section; None where nobody can say later that it is the same."""
        if self.folder is None or not identity:
            return None
        known = {
            "section": name, "is": identity, "animal": member, "settings": self.settings,
            "version": __version__,
        }  # fmt: skip
        text = json.dumps(known, sort_keys=True, default=_plain)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npz"


def _plain(value: Any) -> Any:
    """Return what JSON can hold of numbers of numpy and of paths."""
    return value.item() if isinstance(value, np.generic) else str(value)
