"""The state of a training run: weights, moving average, optimiser, step; saved and resumed.

A checkpoint is one safetensors file (tensors, and the step in its header), written beside its
destination and renamed into place. All randomness of a run is a function of seed and step, so
that a resumed run equals an uninterrupted one bit for bit on one device.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

MAX_GRADIENT_NORM = 1.0
WARMUP_STEPS = 100


class TrainState:
    """AdamW over a module's trainable parameters, with an exponential moving average of them."""

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        average: float = 0.0,
        weight_decay: float = 0.01,
    ) -> None:
        self.module = module
        self.step = 0
        self.average = average
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.smooth = {n: p.detach().clone() for n, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=learning_rate, weight_decay=weight_decay
        )

    def cosine_rate(self, learning_rate: float, steps: int, floor: float = 0.05) -> float:
        """Learning rate at this step: linear warm-up, then a cosine down to `floor` of it."""
        share = min(self.step / max(steps, 1), 1.0)
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))
        return learning_rate * min(1.0, (self.step + 1) / WARMUP_STEPS) * cosine

    def descend(self, loss: Tensor, learning_rate: float) -> None:
        """Take one step down the gradient of `loss` and update the moving average."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters.values(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        # a young average must forget its random start faster
        decay = min(self.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.smooth[name].lerp_(parameter, 1 - decay)

    def forget(self, parameter: nn.Parameter) -> None:
        """Drop the optimiser's memory of a parameter that was set by hand."""
        self.optimizer.state.pop(parameter, None)

    @torch.no_grad()
    def use_average(self) -> None:
        """Replace the module's parameters by their moving average (the end of a training)."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.smooth[name])

    def save(self, path: Path) -> None:
        """Write the checkpoint atomically."""
        tensors = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        tensors |= {f"smooth.{n}": t for n, t in self.smooth.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{key}.{name}"] = value
        beside = path.with_suffix(path.suffix + ".part")
        copies = {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}
        save_file(copies, beside, {"step": str(self.step)})
        beside.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint that `save` wrote for a module of the same shape."""
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        prefix = "module."
        self.module.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
        for name, parameter in self.parameters.items():
            self.smooth[name].copy_(tensors[f"smooth.{name}"])
            memory = {
                key: tensors[f"adam.{key}.{name}"].to(parameter.device if key != "step" else "cpu")
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"adam.{key}.{name}" in tensors
            }
            if memory:
                self.optimizer.state[parameter] = memory
