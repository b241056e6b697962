"""Bring torch's big library into the process without stopping the other threads.

1. `import torch` opens a library of some hundred MB, and Python holds its lock (the GIL) meanwhile:
   a window that is driven by another thread stands still for a second or more.
2. A foreign function that is called through ctypes gives the lock up. So the system's own loader is
   called that way first; the import then finds the library loaded.

It is a courtesy: where anything is missing or fails nothing happens, and `import torch` says why.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from napari_damm.util.devices import torch_libraries

# The library that takes the time, by platform; the one of CUDA builds comes with it or after it.
_LIBRARIES = {
    "linux": ("libtorch_cpu.so", "libtorch_cuda.so"),
    "darwin": ("libtorch_cpu.dylib",),
    "win32": ("torch_cpu.dll", "torch_cuda.dll"),
}


def preload_torch() -> bool:
    """Load torch's libraries ahead of `import torch`; tell whether any was loaded here."""
    if "torch" in sys.modules:
        return False
    try:
        return _load(torch_libraries())
    except (OSError, AttributeError, ImportError, ValueError):
        return False


def _load(folder: Path) -> bool:
    files = [folder / name for name in _LIBRARIES.get(sys.platform, ())]
    opened = [_open_library(file) for file in files if file.exists()]
    return any(opened)


def _open_library(file: Path) -> bool:
    """Have the system load a library, the GIL being free; its handle is never closed."""
    if sys.platform == "win32":
        # torch's libraries find each other only in a folder that has been named.
        with os.add_dll_directory(str(file.parent)):
            load = ctypes.windll.kernel32.LoadLibraryW
            load.argtypes, load.restype = [ctypes.c_wchar_p], ctypes.c_void_p
            return bool(load(str(file)))
    # As a function of the C library: `ctypes.CDLL(file)` would itself hold the lock.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    return bool(dlopen(os.fsencode(file), os.RTLD_LAZY))
