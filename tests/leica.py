"""LIF files as the format is described: an XML header, then one block of pixels per image."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

AXES = {"X": 1, "Y": 2, "Z": 3, "T": 4, "L": 5, "M": 10}


def image_xml(
    name: str,
    block: str,
    planes: np.ndarray,
    axes: str,
    um: float | None,
    dyes: tuple[str, ...],
    tables: tuple[str, ...],
) -> str:
    """Describe `planes`, whose axes are named by `axes` from the slowest to the fastest."""
    dims, channels = "", ""
    steps = dict(zip(axes, planes.strides, strict=True))
    for axis, count in zip(axes, planes.shape, strict=True):
        if axis != "C":
            length = 0 if um is None else (count - 1) * um * 1e-6
            unit = "m" if axis in "XYZ" else "s"
            dims += (
                f'<DimensionDescription DimID="{AXES[axis]}" NumberOfElements="{count}" '
                f'Origin="0" Length="{length:.12e}" Unit="{unit}" BitInc="0" '
                f'BytesInc="{steps[axis]}"/>'
            )
    count = planes.shape[axes.index("C")] if "C" in axes else 1
    for k in range(count):
        dye = f"<Key>DyeName</Key><Value>{dyes[k]}</Value>" if dyes else ""
        channels += (
            f'<ChannelDescription DataType="{int(planes.dtype.kind == "f")}" ChannelTag="0" '
            f'Resolution="{8 * planes.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" '
            f'Unit="" LUTName="{tables[k % len(tables)]}" IsLUTInverted="0" '
            f'BytesInc="{k * steps.get("C", 0)}" BitInc="0"><ChannelProperty>{dye}'
            "</ChannelProperty></ChannelDescription>"
        )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dims}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{planes.nbytes}" MemoryBlockID="{block}"/></Element>'
    )


def write_lif(
    path: Path,
    *images: np.ndarray,
    axes: str = "CYX",
    um: float | None = 0.65,
    dyes: tuple[str, ...] = (),
    tables: tuple[str, ...] = ("Green", "Blue", "Red"),
) -> Path:
    """Write images, each (axes), as one file."""
    kept = [np.ascontiguousarray(each) for each in images]
    described = "".join(
        image_xml(f"section {k}", f"MemBlock_{k}", each, axes, um, dyes, tables)
        for k, each in enumerate(kept)
    )
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="project"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID=""/><Children>{described}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    header = text.encode("utf-16-le")
    with path.open("wb") as file:
        file.write(struct.pack("<IIBI", 0x70, 5 + len(header), 0x2A, len(header) // 2) + header)
        for k, each in enumerate(kept):
            name = f"MemBlock_{k}".encode("utf-16-le")
            size = struct.pack("<BQB", 0x2A, each.nbytes, 0x2A)
            file.write(struct.pack("<IIB", 0x70, 14 + len(name), 0x2A)[:8])
            file.write(size + struct.pack("<I", len(name) // 2) + name + each.tobytes())
    return path
