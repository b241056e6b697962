"""The network's share of a prediction on a graphics card: `sampler` without anything that waits.

1. Images go to the card while it computes the windows before (`transfers`).
2. One pool at a time has the card (`_turn`): a batch is encoded, all its steps are started, it is
   decoded, and its maps are on their way back, before the next pool's turn. What the host does with
   the results it does meanwhile, in another thread.
3. Both decoders run for every window, so that no step waits for the gate, and a step is recorded
   once and replayed (`step_graph`).
4. A batch is whole: it is filled up when it is sent, and neither cut nor joined on the way.

On an H200 recorded steps are 2.5 times faster than those that are started one by one, and the same
to the bit; tests run it on the CPU, with a recorder that stands in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.engine.denoiser import Denoiser
from napari_damm.engine.device_noise import DeviceNoise
from napari_damm.engine.recovery import Downgraded
from napari_damm.engine.sampler import (
    HEARTBEAT,
    Conditions,
    Heartbeat,
    WindowSampler,
    outputs_of,
)
from napari_damm.engine.setup import Sampling, Setup
from napari_damm.engine.step_graph import Recorder, StepGraph, cuda_recorder
from napari_damm.engine.transfers import Transfers
from napari_damm.engine.views import VIEWS, mean_of, turned, turned_back
from napari_damm.engine.windows import WindowInput, WindowOutput, combine
from napari_damm.model.damm import DAMM
from napari_damm.model.gate import Gated, choose_multi, mixed, where_multi
from napari_damm.sampling import SamplerStep

TURN_S = 0.2
GRAPHED = ("cuda",)
WORTH_RECORDING = 2
"""From so many steps of a pool on they are recorded: that takes half a second, and of a single step
gains nothing."""


Yielded = SamplerStep | Heartbeat | Downgraded
Arriving = Callable[[], NDArray[Any]]


@dataclass(frozen=True)
class _Drawn:
    """Samples on their way: of these windows; their images, uncertainty, and gate."""

    windows: Sequence[WindowInput]
    images: Arriving
    uncertainty: Arriving
    multi: Arriving

    def outputs(self) -> list[WindowOutput]:
        """Wait for them."""
        return outputs_of(self.windows, self.images(), self.uncertainty(), self.multi())


def sampler_of(model: DAMM, setup: Setup) -> WindowSampler:
    """Make the sampler of a job, in a process that has such a device."""
    if setup.device in GRAPHED:
        return DeviceSampler(model, setup.sampling, setup.device, cuda_recorder)
    return WindowSampler.of(model, setup)


class DeviceSampler(WindowSampler):
    """Samples pools of windows on a graphics card; several threads may call, one computes."""

    def __init__(
        self, model: DAMM, sampling: Sampling, device: str, recorder: Recorder | None = None
    ) -> None:
        super().__init__(model, sampling, device)
        self._recorder = recorder
        self._transfers = Transfers(device)
        self._turn = threading.Lock()
        self._told = False
        most = max(sampling.steps, sampling.beside.steps if sampling.beside else 0)
        self.step = StepGraph(self._both_branches, recorder if most >= WORTH_RECORDING else None)

    def with_batches(self, size: int, model: DAMM, device: str) -> WindowSampler:
        """Return a sampler that differs in its batches, and in the model and device given."""
        self.step.close()
        sampling = replace(self.sampling, batch_size=size)
        if device != self.device:
            return WindowSampler(model, sampling, device)
        return DeviceSampler(model, sampling, device, self._recorder)

    def run(self, inputs: Sequence[WindowInput]) -> Iterator[Any]:
        """As `WindowSampler.run`; it may also yield a `Downgraded`."""
        if not inputs:
            raise ValueError("a pool must hold at least one window, got none")
        size = self.sampling.batch_size
        outputs: list[WindowOutput] = []
        for start in range(0, len(inputs), size):
            outputs += yield from self._part(inputs[start : start + size])
        yield outputs

    def _part(self, windows: Sequence[WindowInput]) -> Generator[Yielded, None, list[WindowOutput]]:
        """Sample as many windows as a batch holds, or fewer."""
        sampling, beside = self.sampling, self.sampling.beside
        plain = replace(sampling, samples=1) if beside else sampling
        drawn, spread = yield from self._seen(windows, plain, beside)
        seen = [_combined(drawn, plain)]
        for view in VIEWS[sampling.views][1:]:
            copies = [turned(each, view) for each in windows]
            drawn, _ = yield from self._seen(copies, plain, None)
            seen.append([turned_back(each, view) for each in _combined(drawn, plain)])
        outputs = [mean_of(copies) for copies in zip(*seen, strict=True)]
        if beside is None:
            return outputs
        return [
            replace(each, np=mean.np, uncertainty=mean.uncertainty, branch=mean.branch)
            for mean, each in zip(outputs, _combined(spread, beside), strict=True)
        ]

    def _seen(
        self, windows: Sequence[WindowInput], plain: Sampling, beside: Sampling | None
    ) -> Generator[Yielded, None, tuple[list[_Drawn], list[_Drawn]]]:
        """Sample windows as they lie here, and what is shown beside an expected map."""
        filled = self._filled_up(windows)
        primary = self._transfers.send([each.primary for each in filled])
        secondary = self._transfers.send([each.secondary for each in filled])
        while not self._turn.acquire(timeout=TURN_S):
            yield HEARTBEAT
        try:
            with torch.inference_mode():
                given = self._conditions(primary(), secondary())
            drawn = yield from self._all_drawn(plain, windows, given)
            spread = (yield from self._all_drawn(beside, windows, given)) if beside else []
        finally:
            self._turn.release()
        return drawn, spread

    def _conditions(self, primary: Tensor, secondary: Tensor) -> Conditions:
        """Encode a batch of images (b, h, w)."""
        first, second = (
            image[:, None].expand(-1, self.model.first_stage(role).config.image_channels, -1, -1)
            for image, role in ((primary, "primary"), (secondary, "secondary"))
        )
        latent, features = self.model.encode_primary(first)
        return Conditions(latent, self.model.encode(second, "secondary"), features, second)

    def _all_drawn(
        self, sampling: Sampling, windows: Sequence[WindowInput], given: Conditions
    ) -> Generator[Yielded, None, list[_Drawn]]:
        """Draw all samples of each window, a batch at a time."""
        draws = [(k, stream) for k in range(len(windows)) for stream in range(sampling.samples)]
        size, drawn = self.sampling.batch_size, []
        for start in range(0, len(draws), size):
            some = draws[start : start + size]
            drawn.append((yield from self._drawn(sampling, windows, some, given)))
        return drawn

    def _drawn(
        self,
        sampling: Sampling,
        windows: Sequence[WindowInput],
        draws: Sequence[tuple[int, int]],
        given: Conditions,
    ) -> Generator[Yielded, None, _Drawn]:
        """Draw one batch of samples; of each the window (its index) and the stream of noise."""
        count, filled = len(draws), self._filled_up(draws)
        with torch.inference_mode():
            if [k for k, _ in draws] != list(range(len(windows))):
                given = _rows(given, [k for k, _ in filled])
            denoiser = self._denoiser(given.primary, given.secondary)
        steps = self._steps(
            sampling,
            denoiser.denoise,
            [windows[k] for k, _ in filled],
            [stream for _, stream in filled],
            given.primary.shape,
        )
        marks: list[Any] = []
        while True:
            # inference mode belongs to the thread: never leave it on across a yield
            with torch.inference_mode():
                step = next(steps, None)
                if step is None:
                    break
                self._transfers.pace(marks)
            x = step.x
            yield replace(step, x=x[:count])
            yield from self._remarks()
        with torch.inference_mode():
            images = self._decoded(x, given, denoiser.multi)
            return _Drawn(
                [windows[k] for k, _ in draws],
                self._transfers.fetch(images[:count]),
                self._transfers.fetch(denoiser.uncertainty()[:count]),
                self._transfers.fetch(denoiser.multi[:count]),
            )

    def _decoded(self, x_0: Tensor, given: Conditions, multi: Tensor) -> Tensor:
        """Clean latents of a batch -> relative intensity (b, h, w)."""
        other = where_multi(given.secondary_image, multi) if given.features else None
        images = self.model.decode(x_0, primary=given.features, secondary=other)
        return ((images.mean(dim=1) + 1) / 2).float()

    def _remarks(self) -> Iterator[Downgraded]:
        if self.step.trouble and not self._told:
            self._told = True
            yield Downgraded(
                "denoising steps could not be recorded on the graphics card and are started one by "
                f"one, which is slower ({self.step.trouble})",
                out_of_memory=False,
            )

    def _denoiser(self, primary: Tensor, secondary: Tensor) -> Denoiser:
        def gated(x_t: Tensor, t: Tensor) -> Gated:
            return Gated(*self.step(x_t, t, primary, secondary))

        return Denoiser(gated, primary, self.model.config.read_out == "mean")

    def _both_branches(
        self, x_t: Tensor, t: Tensor, primary: Tensor, secondary: Tensor
    ) -> tuple[Tensor, ...]:
        """Compute `DAMM.gated_noise` with both decoders, in one network call."""
        model, gamma = self.model, self.sampling.gamma
        encoded = model.unet.encode(x_t, t, primary, secondary)
        multi = choose_multi(encoded.confidence, gamma, model.config.gate)
        predicted = mixed(
            multi,
            model.unet.decode_multi(encoded),
            model.unet.decode_uni(encoded),
            model.config.uni_share if gamma < 1 else 1.0,
        )
        return model.unet.as_noise(predicted, x_t, t), multi, encoded.confidence

    def _noise(
        self,
        seed: int,
        corners: Sequence[tuple[int, int]],
        shape: tuple[int, int, int],
        streams: Sequence[int],
    ) -> Callable[[int], Tensor]:
        return DeviceNoise(seed, corners, shape, streams, self.device)

    def _filled_up(self, some: Sequence[Any]) -> list[Any]:
        """Repeat the last until there are as many as in every batch."""
        return [*some, *[some[-1]] * (self.sampling.batch_size - len(some))]


def _rows(given: Conditions, rows: Sequence[int]) -> Conditions:
    index = torch.tensor(rows).to(given.primary.device, non_blocking=True)
    return Conditions(
        given.primary[index],
        given.secondary[index],
        [each[index] for each in given.features],
        given.secondary_image[index],
    )


def _combined(drawn: Sequence[_Drawn], sampling: Sampling) -> list[WindowOutput]:
    """Wait for all samples, and combine those of each window."""
    outputs = [each for part in drawn for each in part.outputs()]
    count = sampling.samples
    return [
        combine(outputs[start : start + count], sampling.spread_factor)
        for start in range(0, len(outputs), count)
    ]
