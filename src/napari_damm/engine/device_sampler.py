"""The network's share of a prediction on a graphics card: `sampler` without anything that waits.

1. Images go to the card while it computes the windows before (`transfers`).
2. One pool at a time has the card (`_turn`): a batch is encoded, all its steps are started, it is
   decoded, and its maps are on their way back, before the next pool's turn. What the host does with
   the results it does meanwhile, in another thread.
3. Both decoders run for every window, so that no step waits for the gate, and a step is recorded
   once and replayed (`step_graph`).
4. A batch is whole: it is filled up when it is sent, and neither cut nor joined on the way. Of
   several samples each is drawn of all windows before the next: nothing is picked or copied either.

On an H200 recorded steps are 2.5 times faster than those that are started one by one, and the same
to the bit; tests run it on the CPU, with a recorder that stands in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from napari_damm.engine.compiling import Compiled, Compiler, torch_compiler
from napari_damm.engine.denoiser import Denoiser
from napari_damm.engine.device_noise import DeviceNoise
from napari_damm.engine.drawn import Conditions, Drawn
from napari_damm.engine.recovery import Downgraded
from napari_damm.engine.sampler import HEARTBEAT, WindowSampler, Yielded
from napari_damm.engine.setup import Sampling, Setup
from napari_damm.engine.step_graph import CudaRecorder, Recorder, StepGraph
from napari_damm.engine.windows import WindowInput
from napari_damm.model.damm import DAMM
from napari_damm.model.gate import Gated, choose_multi, mixed
from napari_damm.model.half import decoding
from napari_damm.util.sending import sent

TURN_S = 0.2
GRAPHED = ("cuda",)
WORTH_RECORDING = 2
"""From so many steps of a pool on they are recorded: that takes half a second, and of a single step
gains nothing."""


def sampler_of(model: DAMM, setup: Setup) -> WindowSampler:
    """Make the sampler of a job, in a process that has such a device."""
    if setup.device in GRAPHED:
        compiler = torch_compiler if setup.sampling.compiled else None
        return DeviceSampler(model, setup.sampling, setup.device, CudaRecorder(), compiler)
    return WindowSampler.of(model, setup)


class DeviceSampler(WindowSampler):
    """Samples pools of windows on a graphics card; several threads may call, one computes."""

    def __init__(
        self,
        model: DAMM,
        sampling: Sampling,
        device: str,
        recorder: Recorder | None = None,
        compiler: Compiler | None = None,
    ) -> None:
        super().__init__(model, sampling, device)
        self._recorder, self._compiler = recorder, compiler
        self._encoders = Compiled(super()._conditions, compiler)
        self._decoder = Compiled(super()._images, compiler)
        self._network = Compiled(self._both_branches, compiler)
        self._turn = threading.Lock()
        self._told: set[str] = set()
        most = max(sampling.steps, sampling.beside.steps if sampling.beside else 0)
        self.step = StepGraph(self._network, recorder if most >= WORTH_RECORDING else None)

    def with_batches(self, size: int, model: DAMM, device: str) -> WindowSampler:
        """Return a sampler that differs in its batches, and in the model and device given."""
        self.step.close()
        sampling = replace(self.sampling, batch_size=size)
        if device != self.device:
            return WindowSampler(model, sampling, device)
        return DeviceSampler(model, sampling, device, self._recorder, self._compiler)

    def _seen(
        self, windows: Sequence[WindowInput], plain: Sampling, beside: Sampling | None
    ) -> Generator[Yielded, None, tuple[list[Drawn], list[Drawn]]]:
        """As `WindowSampler._seen`; of one batch at most, and in its turn."""
        filled = self._filled_up(windows)
        primary = self._transfers.send([each.primary for each in filled])
        secondary = self._transfers.send([each.secondary for each in filled])
        while not self._turn.acquire(timeout=TURN_S):
            yield HEARTBEAT
        try:
            with torch.inference_mode():
                given = self._conditions(primary(), secondary())
            return (yield from self._both_drawn(windows, given, plain, beside))
        finally:
            self._turn.release()

    def _decoded(
        self,
        windows: Sequence[WindowInput],
        x_0: Tensor,
        given: Conditions,
        rows: Sequence[int],
        denoiser: Denoiser,
    ) -> Generator[Yielded, None, Drawn]:
        """Decode a whole batch, and send back what was asked for."""
        yield from ()
        with torch.inference_mode():
            if not self._all_of(given, rows):
                given = given.select(sent(torch.tensor(rows), x_0.device))
            images = self._images(x_0, given, denoiser.multi)
            maps = (images, denoiser.uncertainty(), denoiser.multi)
            return Drawn(windows, *(self._transfers.fetch(each[: len(windows)]) for each in maps))

    def _windows_at_once(self, windows: int) -> int:
        return self.sampling.batch_size

    def _draws(self, windows: int, samples: int) -> list[tuple[int, int]]:
        """Draw a sample of every window, then another: each batch is of all that was encoded."""
        return [(k, stream) for stream in range(samples) for k in range(windows)]

    def _latents(self, given: Conditions, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        whole = self._all_of(given, rows)
        return (given.primary, given.secondary) if whole else super()._latents(given, rows)

    def _all_of(self, given: Conditions, rows: Sequence[int]) -> bool:
        """Tell whether these are the rows of all that was encoded: then nothing is picked."""
        count = rows[-1] + 1
        return len(rows) == len(given.primary) and rows == self._filled_up(range(count))

    def _draws_at_once(self, windows: int) -> int:
        return self.sampling.batch_size

    def _remarks(self) -> Iterator[Downgraded]:
        parts = self._network, self._encoders, self._decoder
        uncompiled = next((part.trouble for part in parts if part.trouble), "")
        for trouble, said in (
            (
                self.step.trouble,
                "denoising steps could not be recorded on the graphics card and are started one by "
                "one, which is slower",
            ),
            (uncompiled, "the network, or a part of it, could not be compiled and is as always"),
        ):
            if trouble and said not in self._told:
                self._told.add(said)
                yield Downgraded(f"{said} ({trouble})", out_of_memory=False)

    def denoiser(self, primary: Tensor, secondary: Tensor) -> Denoiser:
        """As `WindowSampler.denoiser`; with both decoders, and steps that are recorded."""

        def gated(x_t: Tensor, t: Tensor) -> Gated:
            return Gated(*self.step(x_t, t, primary, secondary))

        return Denoiser(gated, primary, self.model.config.read_out == "mean")

    def _conditions(self, primary: Tensor, secondary: Tensor) -> Conditions:
        found: Conditions = self._encoders(primary, secondary)
        return found

    def _images(self, x_0: Tensor, given: Conditions, multi: Tensor) -> Tensor:
        found: Tensor = self._decoder(x_0, given, multi)
        return found

    def _both_branches(
        self, x_t: Tensor, t: Tensor, primary: Tensor, secondary: Tensor
    ) -> tuple[Tensor, ...]:
        """Compute `DAMM.gated_noise` with both decoders, in one network call."""
        model, gamma = self.model, self.sampling.gamma
        encoded = model.unet.encode(x_t, t, primary, secondary)
        multi = choose_multi(encoded.confidence, gamma, model.config.gate)
        with decoding(self.device, self.sampling.half):
            of_multi, of_uni = model.unet.decode_multi(encoded), model.unet.decode_uni(encoded)
        uni_share = model.config.uni_share if gamma < 1 else 1.0
        predicted = mixed(multi, of_multi.to(x_t.dtype), of_uni.to(x_t.dtype), uni_share)
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
