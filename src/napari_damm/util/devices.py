"""What can compute here, told without importing torch: that takes seconds.

1. Where torch is loaded already, it is asked.
2. Else a device is taken to be there if torch was built for it and the machine shows a driver:
   on Linux a device file of NVIDIA's (or WSL's, or AMD's, which torch calls "cuda" too), on Windows
   the driver's library, on a Mac a processor of Apple's.

A widget offers what is found. Nothing is lost where the guess is wrong: "auto" asks torch.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

ALWAYS = ("auto", "cpu")
_BUILDS = ("libtorch_cuda.so", "libtorch_hip.so", "torch_cuda.dll")
_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""Graphics cards, Jetson, Windows' subsystem for Linux, AMD."""


def devices_here() -> tuple[str, ...]:
    """Return the names of the devices that can be used on this machine."""
    found = {"cuda": _has_cuda, "mps": _has_mps}
    return (*ALWAYS, *(name for name, is_there in found.items() if is_there()))


def backend(device: str) -> Any:
    """Return torch's module of a kind of device, for its memory and queue; None for a processor."""
    if device not in ("cuda", "mps"):
        return None
    import torch

    return getattr(torch, device)


def torch_libraries() -> Path:
    """Return the folder of torch's libraries, without loading any.

    Raises
    ------
    ImportError
        If torch is not installed.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("torch is not installed")
    return Path(spec.submodule_search_locations[0]) / "lib"


def _has_cuda() -> bool:
    torch = sys.modules.get("torch")
    try:
        return bool(torch.cuda.is_available())  # type: ignore[union-attr]
    except AttributeError:  # not loaded, or half of it
        return _is_built_for_cards() and _has_driver()


def _has_mps() -> bool:
    torch = sys.modules.get("torch")
    try:
        return bool(torch.backends.mps.is_available())  # type: ignore[union-attr]
    except AttributeError:
        return sys.platform == "darwin" and platform.machine() == "arm64"


def _is_built_for_cards() -> bool:
    try:
        libraries = torch_libraries()
    except (ImportError, ValueError):
        return False
    return any((libraries / name).exists() for name in _BUILDS)


def _has_driver() -> bool:
    if sys.platform == "win32":
        system = os.environ.get("SYSTEMROOT", r"C:\Windows")
        return (Path(system) / "System32" / "nvcuda.dll").exists()
    return any(Path(name).exists() for name in _DRIVERS)
