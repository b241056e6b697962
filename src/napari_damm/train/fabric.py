"""The machine that trains: device, precision and processes, by Lightning Fabric.

One process is the rule. With several devices Fabric starts the program again for each of the
others ("ddp"), and they share every batch; the first process alone writes and tells.
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor

from napari_damm.engine.config import cores
from napari_damm.model_file import resolve_device
from napari_damm.train.config import TrainConfig
from napari_damm.util.advice import Advice
from napari_damm.util.children import safe_children

Value = TypeVar("Value")


def started_by_fabric() -> bool:
    """Tell whether this process only helps another, which writes and reports."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


class Machine:
    """Fabric, set up as the config says."""

    def __init__(self, config: TrainConfig) -> None:
        """Find the device; with several, start the other processes.

        Raises
        ------
        ValueError
            If the device is not there, or there are not so many.
        """
        kind = resolve_device(config.device).type
        precision = config.precision
        if precision == "auto":
            precision = "bf16-mixed" if kind == "cuda" else "32-true"
        if kind == "cuda" and config.devices > torch.cuda.device_count():
            raise ValueError(
                Advice(
                    f"must be at most {torch.cuda.device_count()} on this machine, "
                    f"got {config.devices}",
                    parameter="devices",
                )
            )
        if config.batch_size < config.devices:
            raise ValueError(
                Advice(
                    f"must be at least the number of devices ({config.devices}), "
                    f"got {config.batch_size}",
                    parameter="batch_size",
                )
            )
        if kind == "mps" and config.devices > 1:
            raise ValueError(Advice(f"must be 1 on mps, got {config.devices}", parameter="devices"))
        strategy = config.strategy
        if config.devices > 1 and strategy in ("auto", "ddp"):
            # the joint phase leaves the confidence out
            strategy = "ddp_find_unused_parameters_true"
        logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from lightning_fabric import Fabric

            try:
                self.fabric = Fabric(
                    accelerator=kind,
                    devices=config.devices,
                    strategy=strategy,
                    precision=precision,  # type: ignore[arg-type]
                )
                if config.devices > 1:
                    with safe_children():
                        self.fabric.launch()
            except (ValueError, RuntimeError, TypeError) as error:
                raise ValueError(
                    f"cannot train on {config.devices} x {kind} with strategy "
                    f"{config.strategy!r}: {' '.join(str(error).split())}"
                ) from None
        self.kind, self.precision = kind, precision
        if kind == "cpu" and config.devices == 1:
            # a prediction in this process may have left this thread with one
            given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
            torch.set_num_threads(int(given) if given.isdecimal() and int(given) else cores())

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.fabric.global_rank

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def wrap(self, network: torch.nn.Module) -> Any:
        """Return a network that computes in this precision, and together with other processes."""
        return self.fabric.setup_module(network)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context in which what is not wrapped computes in this precision too."""
        context: AbstractContextManager[Any] = self.fabric.autocast()
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.fabric.backward(loss)

    def agree(self, value: Value) -> Value:
        """Return what the first process says, in every process; waits for it."""
        return self.fabric.broadcast(value) if self.world > 1 else value
