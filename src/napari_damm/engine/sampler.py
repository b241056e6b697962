"""The network's share of a prediction: windows in, sampled windows out.

1. `WindowSampler` holds the model and how to sample; threads call `run` on pools of windows.
2. Each window is encoded on its own, once for all its samples; sample k starts from stream k of the
   noise keyed by absolute position.
3. At every denoising step the encoders run in batches of one fixed size, the gate is read, and
   only the decoder that each window needs runs, over the whole pool, so that batches stay full.
4. The clean latents are decoded one by one; a window's samples become mean and spread (`combine`).

In mode "expected" step 3 is made once, at the highest noise: there x_t holds nothing of x_0, and
the network's guess of x_0 is the mean over all that the images allow. x_t is noise or 0, as when
the network learnt it. Where several samples are asked for too, they are drawn after that, and leave
their spread.

Bits depend on the batch size and the number of threads, never on what else is in a batch: every
network call has the same size (padded), and on a CPU each call has one thread. So a window's result
does not depend on its pool, thread or order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_damm.engine.config import POOL_BATCHES
from napari_damm.engine.denoiser import Denoiser
from napari_damm.engine.drawn import Conditions, Drawn, combined, joined
from napari_damm.engine.noise import window_noise
from napari_damm.engine.recovery import Downgraded
from napari_damm.engine.setup import REFERENCE, Sampling, Setup
from napari_damm.engine.transfers import Transfers
from napari_damm.engine.views import VIEWS, mean_of, turned, turned_back
from napari_damm.engine.windows import Floats, WindowInput, WindowOutput
from napari_damm.model.batches import fixed_batches
from napari_damm.model.damm import DAMM
from napari_damm.model.gate import Gated, where_multi
from napari_damm.model.half import decoding
from napari_damm.model.layers import memory_format
from napari_damm.sampling import SamplerStep, ddim_steps, dpm_solver_steps
from napari_damm.schedule import NoiseSchedule
from napari_damm.util.sending import sent


class Heartbeat:
    """Nothing to report, but a chance to stop: yielded between the parts of a long computation."""


HEARTBEAT = Heartbeat()
Yielded = SamplerStep | Heartbeat | Downgraded


class WindowSampler:
    """Samples pools of windows; one instance serves several threads (it keeps no state)."""

    def __init__(self, model: DAMM, sampling: Sampling, device: str) -> None:
        self.model = model.eval()
        self.model.to(device=device, memory_format=memory_format(device))  # type: ignore[call-overload]
        self.sampling = sampling
        self.device = device
        self._transfers = Transfers(device)
        self.schedule = NoiseSchedule()

    @classmethod
    def of(cls, model: DAMM, setup: Setup) -> WindowSampler:
        """Make the sampler of a job, in a process that has such a device."""
        return cls(model, setup.sampling, setup.device)

    def with_batches(self, size: int, model: DAMM, device: str) -> WindowSampler:
        """Return a sampler that differs in its batches, and in the model and device given."""
        return type(self)(model, replace(self.sampling, batch_size=size), device)

    def starting_from(self, expected_from: str) -> WindowSampler:
        """Return a sampler that makes expected maps from noise or zero."""
        sampling = replace(self.sampling, expected_from=expected_from)
        return WindowSampler(self.model, sampling, self.device)

    def run(self, inputs: Sequence[WindowInput]) -> Iterator[Yielded | list[WindowOutput]]:
        """Yield after every denoising step, and at last the outputs of the pool.

        A step is of as many samples as its `x` has rows. While windows are encoded and decoded it
        yields a `Heartbeat` now and then.
        """
        if not inputs:
            raise ValueError("a pool must hold at least one window, got none")
        size = self._windows_at_once(len(inputs))
        outputs: list[WindowOutput] = []
        for start in range(0, len(inputs), size):
            outputs += yield from self._part(inputs[start : start + size])
        yield outputs

    def _part(self, windows: Sequence[WindowInput]) -> Generator[Yielded, None, list[WindowOutput]]:
        """Sample windows that are encoded together, all their copies and samples."""
        sampling, beside = self.sampling, self.sampling.beside
        plain = replace(sampling, samples=1) if beside else sampling
        drawn, spread = yield from self._seen(windows, plain, beside)
        seen = [self._combined(drawn, len(windows), plain)]
        for view in VIEWS[sampling.views][1:]:
            copies = [turned(each, view) for each in windows]
            drawn, _ = yield from self._seen(copies, plain, None)
            found = self._combined(drawn, len(windows), plain)
            seen.append([turned_back(each, view) for each in found])
        outputs = [mean_of(copies) for copies in zip(*seen, strict=True)]
        if beside is None:
            return outputs
        return [
            replace(mean, std=each.std, samples=each.samples)
            for mean, each in zip(
                outputs, self._combined(spread, len(windows), beside), strict=True
            )
        ]

    def _combined(
        self, drawn: Sequence[Drawn], windows: int, sampling: Sampling
    ) -> list[WindowOutput]:
        """Return one output of all samples of each of so many windows."""
        rows = [k for k, _ in self._draws(windows, sampling.samples)]
        return combined(drawn, rows, sampling)

    def _seen(
        self, windows: Sequence[WindowInput], plain: Sampling, beside: Sampling | None
    ) -> Generator[Yielded, None, tuple[list[Drawn], list[Drawn]]]:
        """Sample windows as they lie here, and what is shown beside an expected map."""
        given = yield from self._encoded(windows)
        return (yield from self._both_drawn(windows, given, plain, beside))

    def _encoded(self, windows: Sequence[WindowInput]) -> Generator[Yielded, None, Conditions]:
        """Encode windows, a call's worth at a time."""
        parts: list[Conditions] = []
        for start in range(0, len(windows), self.first_stage_batch):
            with torch.inference_mode():
                parts.append(self.encode(windows[start : start + self.first_stage_batch]))
            yield HEARTBEAT
        with torch.inference_mode():
            return joined(parts)

    def _both_drawn(
        self, windows: Sequence[WindowInput], given: Conditions, plain: Sampling,
        beside: Sampling | None,
    ) -> Generator[Yielded, None, tuple[list[Drawn], list[Drawn]]]:  # fmt: skip
        drawn = yield from self._all_drawn(plain, windows, given)
        spread = (yield from self._all_drawn(beside, windows, given)) if beside else []
        return drawn, spread

    def _all_drawn(
        self, sampling: Sampling, windows: Sequence[WindowInput], given: Conditions
    ) -> Generator[Yielded, None, list[Drawn]]:
        """Draw all samples of each window, several at once."""
        draws = self._draws(len(windows), sampling.samples)
        size = self._draws_at_once(len(windows))
        drawn: list[Drawn] = []
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
    ) -> Generator[Yielded, None, Drawn]:
        """Draw samples, each of one of the windows (its index) from a stream of noise."""
        filled = self._filled_up(draws)
        rows = [k for k, _ in filled]
        with torch.inference_mode():
            denoiser = self.denoiser(*self._latents(given, rows))
        steps = self._steps(
            sampling,
            denoiser.denoise,
            [windows[k] for k in rows],
            [stream for _, stream in filled],
            denoiser.primary.shape,
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
            yield replace(step, x=x[: len(draws)])
            yield from self._remarks()
        sampled = [windows[k] for k, _ in draws]
        return (yield from self._decoded(sampled, x, given, rows, denoiser))

    def _decoded(
        self,
        windows: Sequence[WindowInput],
        x_0: Tensor,
        given: Conditions,
        rows: Sequence[int],
        denoiser: Denoiser,
    ) -> Generator[Yielded, None, Drawn]:
        """Decode the clean latents of windows, a call's worth at a time; `rows`: in `given`."""
        images = []
        for start in range(0, len(rows), self.first_stage_batch):
            some = slice(start, start + self.first_stage_batch)
            with torch.inference_mode():
                chosen = given.select(torch.tensor(rows[some], device=x_0.device))
                images.append(self.decode(x_0[some], chosen, denoiser.multi[some]))
            yield HEARTBEAT
        with torch.inference_mode():
            fetched = (self._transfers.fetch(z) for z in (denoiser.uncertainty(), denoiser.multi))
            return Drawn(windows, partial(np.concatenate, images), *fetched)

    def _windows_at_once(self, windows: int) -> int:
        """Return how many windows of a pool of so many are encoded before they are sampled."""
        return windows

    def _draws(self, windows: int, samples: int) -> list[tuple[int, int]]:
        """Return (window, stream) of all that is drawn, in the order in which it is."""
        return [(k, stream) for k in range(windows) for stream in range(samples)]

    def _latents(self, given: Conditions, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the latents that samples of windows, by their rows, are drawn from."""
        index = sent(torch.tensor(rows), given.primary.device)
        return given.primary[index], given.secondary[index]

    def _draws_at_once(self, windows: int) -> int:
        """Return how many samples of so many windows are drawn at once.

        A window's samples follow each other, so that few of them wait for the last.
        """
        return max(windows, POOL_BATCHES * self.sampling.batch_size)

    def _filled_up(self, draws: Sequence[Any]) -> Sequence[Any]:
        """Return what is drawn at once: no more than was asked for."""
        return draws

    def _remarks(self) -> Iterator[Downgraded]:
        """Yield what is to be told after a step: nothing."""
        yield from ()

    @property
    def first_stage_batch(self) -> int:
        """Windows per call of an autoencoder: on a CPU it is faster on one, a GPU wants many."""
        return 1 if self.device == "cpu" else self.sampling.batch_size

    def _steps(
        self,
        sampling: Sampling,
        denoise: Callable[[Tensor, Tensor], Tensor],
        inputs: Sequence[WindowInput],
        streams: Sequence[int],
        shape: torch.Size,
    ) -> Iterator[SamplerStep]:
        factor, steps = self.model.config.latent_factor, sampling.steps
        corners = [(each.corner[0] // factor, each.corner[1] // factor) for each in inputs]
        noise = self._noise(sampling.seed, corners, (shape[1], shape[2], shape[3]), streams)
        if sampling.mode == REFERENCE:
            # draw 0 is where the trajectory starts; step i adds draw i + 1
            return ddim_steps(
                denoise, noise(0), self.schedule, steps, eta=1.0, noise=lambda i: noise(i + 1)
            )
        start = noise(0) if sampling.start == "noise" else torch.zeros(shape, device=self.device)
        return dpm_solver_steps(denoise, start, self.schedule, steps)

    def _noise(
        self,
        seed: int,
        corners: Sequence[tuple[int, int]],
        shape: tuple[int, int, int],
        streams: Sequence[int],
    ) -> Callable[[int], Tensor]:
        """Return what draws the noise (b, c, h, w) of a draw, by its number."""

        def draw(number: int) -> Tensor:
            fields = [
                window_noise(seed, *corner, shape, number, stream)
                for corner, stream in zip(corners, streams, strict=True)
            ]
            return torch.from_numpy(np.stack(fields)).to(self.device)

        return draw

    def denoiser(self, primary: Tensor, secondary: Tensor) -> Denoiser:
        """Return the denoiser of a pool: in batches, with the decoder that each window needs."""
        gamma, size, half = self.sampling.gamma, self.sampling.batch_size, self.sampling.half

        def gated(x_t: Tensor, t: Tensor) -> Gated:
            return self.model.gated_noise(x_t, t, primary, secondary, gamma, size, half)

        return Denoiser(gated, primary, self.model.config.read_out == "mean")

    def encode(self, windows: Sequence[WindowInput]) -> Conditions:
        """Encode one call's worth of windows, or fewer: then the batch is filled up."""
        primary, secondary = (
            self._filled(torch.from_numpy(np.stack(images)).to(self.device))
            for images in zip(*((each.primary, each.secondary) for each in windows), strict=True)
        )
        return self._conditions(primary, secondary).first(len(windows))

    def _conditions(self, primary: Tensor, secondary: Tensor) -> Conditions:
        """Encode a batch of images (b, h, w)."""
        first, second = (
            image[:, None].expand(-1, self.model.first_stage(role).config.image_channels, -1, -1)
            for image, role in ((primary, "primary"), (secondary, "secondary"))
        )
        latent, features = self.model.encode_primary(first)
        return Conditions(latent, self.model.encode(second, "secondary"), features, second)

    def decode(self, x_0: Tensor, given: Conditions, multi: Tensor) -> Floats:
        """Clean latents (b, c, h, w) of one call or fewer -> relative intensity (b, h, w)."""
        filled = given.select(self._filling(len(x_0)))
        images = self._images(self._filled(x_0), filled, self._filled(multi))
        relative: Floats = images[: len(x_0)].cpu().numpy()
        return relative

    def _images(self, x_0: Tensor, given: Conditions, multi: Tensor) -> Tensor:
        """Clean latents of a batch -> relative intensity (b, h, w)."""
        other = where_multi(given.secondary_image, multi) if given.features else None
        with decoding(self.device, self.sampling.half):
            images = self.model.decode(x_0, primary=given.features, secondary=other)
        return (images.float().mean(dim=1) + 1) / 2

    def _filled(self, batch: Tensor) -> Tensor:
        """Repeat the last row until the batch is as large as every call's."""
        return batch[self._filling(len(batch))]

    def _filling(self, count: int) -> Tensor:
        """Return the rows of a batch of so many, filled up."""
        ((index, _),) = fixed_batches(count, self.first_stage_batch, torch.device(self.device))
        return index
