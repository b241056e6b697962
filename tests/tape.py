"""What stands in for a CUDA graph on the CPU: it records operations, and replays them in place.

As on a card, what was recorded works on the tensors that were there when it was, whatever the
host would do now; and a value that the host reads cannot be recorded.
"""

from __future__ import annotations

from functools import partial

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST_READS = ("_local_scalar_dense", "nonzero", "item", "equal", "is_nonzero", "masked_select")


class Calls(TorchDispatchMode):
    """Notes the operations that are called: name, function, arguments, and what it returned."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.noted.append((func.overloadpacket.__name__, func, args, kwargs or {}, result))
        return result

    def named(self, names):
        return [call for call in self.noted if call[0] in names]


class Waits(TorchFunctionMode):
    """Notes what makes the host wait for a card: numbers that are sent there, unless told not to.

    `torch.tensor(..., device=)` sends what pageable memory holds, and waits. Of what is `sent`
    (`util.sending`) the fixture `sent_as_to_a_card` makes what it would be on CUDA.
    """

    def __init__(self):
        super().__init__()
        self.noted, self.sent = [], 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("tensor", "as_tensor") and kwargs.get("device") is not None:
            self.noted.append(name)
        if name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "nonzero"):
            self.noted.append(name)
        if name == "to" and not isinstance(args[1] if len(args) > 1 else None, torch.dtype):
            self.sent += 1
            if not kwargs.get("non_blocking"):
                self.noted.append(name)
        return func(*args, **kwargs)


class Tape:
    """A `Recorder` on the CPU; `times` it has recorded and replayed, `calls` of the last one."""

    def __init__(self, fails=None, spoils=False):
        self.recorded = self.replayed = 0
        self.calls = []
        self.fails, self.spoils = fails, spoils

    def __call__(self, work):
        if self.fails is not None:
            raise self.fails
        work()
        with Calls() as calls:
            work()
        reads = calls.named(HOST_READS)
        if reads:
            raise RuntimeError(f"the host reads what is recorded: {reads[0][0]}")
        self.recorded += 1
        self.calls = calls.noted
        return partial(self._replay, calls.noted)

    @torch.no_grad()
    def _replay(self, calls):
        self.replayed += 1
        for _, func, args, kwargs, result in calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new + 1 if self.spoils else new)
