"""The state of a training: weights, moving average, optimiser, step; saved and resumed.

1. `backward` adds the gradients of a loss, as often as a step has parts.
2. `apply` clips them, steps down, and moves the average. Gradients that are no numbers change
   nothing: NotFinite.
3. `save_states` writes one or more states into one file, whole or not at all: safetensors, with
   the steps and the caller's own strings in its header.
4. `load_states` compares all names and shapes, and looks for what is no number, before it takes
   the first tensor.

All randomness of a training is a function of seed and step, so that a resumed one equals an
uninterrupted one bit for bit on one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_damm.util.files import open_regular, written_whole

MAX_GRADIENT_NORM = 1.0
FASTER = 3.0
LONGEST_STEP = 15  # digits
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_EXTRA = "extra."
_EMA = "smooth."  # of the file format; what lies there is the exponential moving average


class NotFinite(ArithmeticError):
    """The gradients of a step are infinite or not a number; the step was not taken."""


def on_card(parameters: Iterable[Tensor]) -> bool:
    """Tell whether all parameters lie on a graphics card."""
    return all(each.device.type == "cuda" for each in parameters)


class TrainState:
    """AdamW over a module's trainable parameters, with an exponential moving average of them.

    Parameters
    ----------
    module
        What is trained, on its device already.
    learning_rate
        Rate of the optimiser until `apply` gives another.
    ema_decay
        Decay per step of the exponential moving average; 0: the average is the weights.
    weight_decay
        Weight decay of AdamW.
    betas
        Decay of AdamW's moments.
    backward
        What adds the gradients of a loss, such as `fabric.backward`; torch's own by default.
    faster
        How the names of parameters begin whose learning rate is three times that of the others.

    Attributes
    ----------
    together
        Whether all parameters are stepped and averaged at once, as on a card: in a few kernels.
    stepper
        What `apply` steps: the optimiser, or Fabric's wrapping of it, which may be put here.
    """

    def __init__(
        self,
        module: nn.Module,
        learning_rate: float,
        ema_decay: float = 0.0,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        backward: Callable[[Tensor], None] | None = None,
        faster: tuple[str, ...] = (),
    ) -> None:
        self.module = module
        self.step = 0
        self.ema_decay = ema_decay
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.ema = {n: p.detach().clone() for n, p in self.parameters.items()}
        usual = [p for n, p in self.parameters.items() if not n.startswith(faster)]
        fast = [p for n, p in self.parameters.items() if n.startswith(faster)]
        groups = [{"params": usual, "factor": 1.0}, {"params": fast, "factor": FASTER}]
        self.together = on_card(self.parameters.values())
        devices = {each.device for each in self.parameters.values()}
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=learning_rate,
            betas=betas,
            weight_decay=weight_decay,
            fused=self.together or None,
            capturable=self.together and {each.type for each in devices} == {"cuda"},
        )
        if self.together:  # where a step that is recorded reads it
            self.optimizer._warned_capturable_if_run_uncaptured = True  # the first of a kind is
            for group in self.optimizer.param_groups:
                group["lr"] = torch.tensor(float(learning_rate), device=next(iter(devices)))
        self.stepper: Any = self.optimizer
        self._backward = backward or torch.autograd.backward

    def backward(self, loss: Tensor, share: float = 1.0) -> None:
        """Add the gradients of `share` of a loss to those that are there."""
        self._backward(loss if share == 1 else loss * share)

    def apply(self, learning_rate: float, clip: float = MAX_GRADIENT_NORM) -> None:
        """Take one step down the gradients, drop them, and update the moving average.

        Raises
        ------
        NotFinite
            If their norm is not a finite number: weights, moments and average stay as they were.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        if not bool(torch.isfinite(norm)):
            self.discard()
            raise NotFinite(f"the gradients are not finite at step {self.step + 1}")
        self.set_rate(learning_rate)
        self.stepper.step()
        self.discard()
        self.stepped()

    def set_rate(self, learning_rate: float) -> None:
        """Let the next step have this learning rate."""
        for group in self.optimizer.param_groups:
            rate = learning_rate * group["factor"]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step_down(self, clip: float) -> Tensor:
        """Step down the clipped gradients; return their norm.

        Asks the host nothing, so that it can be recorded; `stepped` does what is left.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), clip)
        self.stepper.step()
        return norm

    def stepped(self) -> None:
        """Count a step, and update the moving average."""
        self.step += 1
        # a young average must forget its random start faster
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        self._average(1 - decay)

    @torch.no_grad()
    def _average(self, weight: float) -> None:
        """Move the average towards the parameters."""
        if self.together:
            now: list[Tensor] = [self.parameters[name] for name in self.ema]
            torch._foreach_lerp_(list(self.ema.values()), now, weight)
            return
        for name, parameter in self.parameters.items():
            self.ema[name].lerp_(parameter, weight)

    def descend(self, loss: Tensor, learning_rate: float) -> None:
        """Take one whole step down the gradient of `loss`."""
        self.discard()
        self.backward(loss)
        self.apply(learning_rate)

    def discard(self) -> None:
        """Drop the gradients that were added so far."""
        self.optimizer.zero_grad(set_to_none=True)

    def forget(self, parameter: nn.Parameter) -> None:
        """Drop the optimiser's memory of a parameter that was set by hand."""
        self.optimizer.state.pop(parameter, None)

    def save(self, path: Path, extra: Mapping[str, str] | None = None) -> None:
        """Write a checkpoint of this state alone; see `save_states`."""
        save_states(path, {"": self}, extra)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of this state alone; see `load_states`."""
        load_states(path, {"": self})

    def touched(self) -> list[Tensor]:
        """Return all that `backward` and `step_down` change."""
        moments = [
            value
            for memory in self.optimizer.state.values()
            for value in memory.values()
            if isinstance(value, Tensor)
        ]
        return [*self.module.state_dict().values(), *moments]

    def tensors(self) -> dict[str, Tensor]:
        """Return all that has to be kept, by name, but for the step."""
        kept = {f"module.{n}": t for n, t in self.module.state_dict().items()}
        kept |= {f"{_EMA}{n}": t for n, t in self.ema.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                kept[f"adam.{key}.{name}"] = value
        return kept

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shapes of all that `take` needs, moments not included."""
        kept = {f"module.{n}": t.shape for n, t in self.module.state_dict().items()}
        return kept | {f"{_EMA}{n}": t.shape for n, t in self.ema.items()}

    def take(self, tensors: Mapping[str, Tensor], step: int) -> None:
        """Become the state that `tensors` and `step` were kept from."""
        prefix = "module."
        self.module.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
        self.step = step
        self.discard()
        self.optimizer.state.clear()
        for name, parameter in self.parameters.items():
            self.ema[name].copy_(tensors[f"{_EMA}{name}"])
            found = [key for key in _MOMENTS if f"adam.{key}.{name}" in tensors]
            memory = {k: self._moment(k, tensors[f"adam.{k}.{name}"], parameter) for k in found}
            if memory:
                self.optimizer.state[parameter] = memory

    def _moment(self, key: str, kept: Tensor, parameter: Tensor) -> Tensor:
        """Return a copy where AdamW looks: the file is only mapped into memory, and goes."""
        if key == "step":
            return kept.to(parameter.device if self.together else "cpu", copy=True)
        # in the parameter's layout: what steps all at once takes them for alike
        return torch.empty_like(parameter, requires_grad=False).copy_(kept)


def save_states(
    path: Path, states: Mapping[str, TrainState], extra: Mapping[str, str] | None = None
) -> None:
    """Write states, by name, into one checkpoint; `extra` strings go into its header.

    Raises
    ------
    OSError
        If it cannot be written: the checkpoint that was there stays, and nothing else is left.
    """
    header = {f"{_EXTRA}{name}": text for name, text in (extra or {}).items()}
    tensors: dict[str, Tensor] = {}
    for name, state in states.items():
        header[_named(name, "step")] = str(state.step)
        tensors |= {
            _named(name, key): tensor.detach().cpu().contiguous()
            for key, tensor in state.tensors().items()
        }
    with written_whole(path) as stream:
        stream.write(save(tensors, header))


def load_states(path: Path, states: Mapping[str, TrainState]) -> None:
    """Continue from a checkpoint that `save_states` wrote of states of the same shapes.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is damaged, no checkpoint, or one of another architecture; no state has changed.
    """
    header, tensors = _read(path)
    parts = {}
    for name, state in states.items():
        _check_step(path, header, name)
        prefix = _named(name, "")
        part = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        _check(path, state, part)
        parts[name] = part
    for name, state in states.items():
        state.take(parts[name], int(header[_named(name, "step")]))


def check_state(path: Path) -> None:
    """Refuse the checkpoint of a state that cannot be gone on from, whatever the architecture.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is damaged, or holds what are no numbers.
    """
    header, tensors = _read(path)
    _check_step(path, header, "")
    _check_numbers(path, tensors)


def read_extra(path: Path) -> dict[str, str]:
    """Return the strings that were put into a checkpoint's header.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is damaged or no checkpoint.
    """
    header, _ = _read(path, with_tensors=False)
    return {n.removeprefix(_EXTRA): text for n, text in header.items() if n.startswith(_EXTRA)}


def _named(state: str, key: str) -> str:
    return f"{state}.{key}" if state else key


def _read(path: Path, with_tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    open_regular(path).close()
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys()) if with_tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no checkpoint: {error}") from None


def _check_step(path: Path, header: Mapping[str, str], name: str) -> None:
    step = header.get(_named(name, "step"), "")
    if not (step.isascii() and step.isdecimal() and len(step) <= LONGEST_STEP):
        raise ValueError(f"{path} is not a checkpoint of this training")


def _check_numbers(path: Path, found: Mapping[str, Tensor]) -> None:
    odd = [name for name, t in found.items() if t.is_complex() or not t.isfinite().all()]
    if odd:
        raise ValueError(f"{path} is damaged: {odd[0]} holds what are no numbers")


def _check(path: Path, state: TrainState, found: Mapping[str, Tensor]) -> None:
    """Compare a checkpoint with the state that shall take it."""
    wanted = state.shapes()
    for name, parameter in state.parameters.items():
        moments = {key: f"adam.{key}.{name}" for key in _MOMENTS}
        if any(moment in found for moment in moments.values()):
            wanted |= {
                moment: torch.Size() if key == "step" else parameter.shape
                for key, moment in moments.items()
            }
    wrong = sorted(wanted.keys() ^ found.keys())
    wrong += [name for name in wanted if name in found and found[name].shape != wanted[name]]
    if wrong:
        raise ValueError(
            f"{path} is a checkpoint of another architecture ({len(wrong)} tensors are missing, "
            f"unknown or of another shape, the first is {wrong[0]})"
        )
    _check_numbers(path, found)
