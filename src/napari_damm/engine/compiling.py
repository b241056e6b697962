"""A function of tensors, generated anew for one card by `torch.compile`, or as it is.

Generated kernels do at once what else is many small ones that wait for memory. Making them takes
most of a minute, so that only large jobs gain: somebody has to ask for it.

1. At its first call a function is computed both ways, and the two are compared.
2. Where it cannot be compiled (without a C++ compiler, say), or gives something else, the function
   itself is called, now and later; `trouble` says why. Lack of memory is raised: whoever calls has
   smaller batches.

One thread at a time may call. Tests compile without generating code; `tests/benchmarks/gpu.py`
measures it on a card, where that is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from napari_damm.engine.step_graph import is_close
from napari_damm.util.errors import is_out_of_memory, one_line

Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Returns what computes the same, faster."""


def torch_compiler(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile for tensors of fixed shapes (a `Compiler`); that happens when it is first called."""
    # of constants that are computed once a device
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
    made: Callable[..., Any] = torch.compile(function, dynamic=False)
    return made


class Compiled:
    """`function`, compiled where a `compiler` can; without one, the function itself."""

    def __init__(self, function: Callable[..., Any], compiler: Compiler | None) -> None:
        self.trouble = ""
        self._function = function
        self._made = compiler(function) if compiler is not None else None
        self._proved = False

    def __call__(self, *given: Any) -> Any:
        """Compute the function of tensors whose shapes are always the same."""
        if self._made is None:
            return self._function(*given)
        try:
            found = self._made(*given)
            if self._proved:
                return found
            known = self._function(*given)
            if all(map(is_close, _tensors(found), _tensors(known))):
                self._proved = True
                return found
            self.trouble = "what was compiled gives something else"
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.trouble = f"{type(error).__name__}: {one_line(error)}"
            known = self._function(*given)
        self._made = None
        return known


def _tensors(result: Any) -> Iterator[Tensor]:
    """Yield the tensors of a result, in order."""
    if isinstance(result, Tensor):
        yield result
        return
    for each in result:
        yield from _tensors(each)
