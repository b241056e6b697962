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

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.engine.config import POOL_BATCHES
from napari_damm.engine.denoiser import Denoiser
from napari_damm.engine.noise import window_noise
from napari_damm.engine.setup import REFERENCE, Sampling, Setup
from napari_damm.engine.views import VIEWS, mean_of, turned, turned_back
from napari_damm.engine.windows import Floats, WindowInput, WindowOutput, combine
from napari_damm.events import Branch
from napari_damm.model.batches import fixed_batches
from napari_damm.model.damm import DAMM
from napari_damm.model.gate import Gated, where_multi
from napari_damm.model.layers import memory_format
from napari_damm.sampling import SamplerStep, ddim_steps, dpm_solver_steps
from napari_damm.schedule import NoiseSchedule
from napari_damm.util.tiling import tokens_to_cells


class Conditions(NamedTuple):
    """What windows are sampled from: latents (b, c, h, w), and what guides the decoder.

    That are features of the primary image, and the secondary image (b, c, h*f, w*f).
    """

    primary: Tensor
    secondary: Tensor
    features: list[Tensor]
    secondary_image: Tensor


def joined(parts: Sequence[Conditions]) -> Conditions:
    """Join the conditions of all windows of a pool."""
    features = [torch.cat(level) for level in zip(*(part.features for part in parts), strict=True)]
    return Conditions(
        torch.cat([part.primary for part in parts]),
        torch.cat([part.secondary for part in parts]),
        features,
        torch.cat([part.secondary_image for part in parts]),
    )


class Heartbeat:
    """Nothing to report, but a chance to stop: yielded between the parts of a long computation."""


HEARTBEAT = Heartbeat()


class WindowSampler:
    """Samples pools of windows; one instance serves several threads (it keeps no state)."""

    def __init__(self, model: DAMM, sampling: Sampling, device: str) -> None:
        self.model = model.eval()
        self.model.to(device=device, memory_format=memory_format(device))  # type: ignore[call-overload]
        self.sampling = sampling
        self.device = device
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

    def run(
        self, inputs: Sequence[WindowInput]
    ) -> Iterator[SamplerStep | Heartbeat | list[WindowOutput]]:
        """Yield after every denoising step, and at last the outputs of the pool.

        A step is of as many samples as its `x` has rows. While windows are encoded and decoded it
        yields a `Heartbeat` now and then.
        """
        if not inputs:
            raise ValueError("a pool must hold at least one window, got none")
        given = yield from self._encoded(inputs)
        plain = replace(self.sampling, samples=1) if self.sampling.beside else self.sampling
        outputs = yield from self._sampled(plain, inputs, given)
        seen = [outputs]
        for view in VIEWS[self.sampling.views][1:]:
            copies = [turned(each, view) for each in inputs]
            made = yield from self._sampled(plain, copies, (yield from self._encoded(copies)))
            seen.append([turned_back(each, view) for each in made])
        if len(seen) > 1:
            outputs = [mean_of(copies) for copies in zip(*seen, strict=True)]
        if self.sampling.beside is not None:
            drawn = yield from self._sampled(self.sampling.beside, inputs, given)
            outputs = [
                replace(mean, std=each.std, samples=each.samples)
                for mean, each in zip(outputs, drawn, strict=True)
            ]
        yield outputs

    def _encoded(
        self, inputs: Sequence[WindowInput]
    ) -> Generator[SamplerStep | Heartbeat, None, Conditions]:
        """Encode windows, a call's worth at a time."""
        parts: list[Conditions] = []
        for start in range(0, len(inputs), self.first_stage_batch):
            part = inputs[start : start + self.first_stage_batch]
            with torch.inference_mode():
                parts.append(self._encode(part))
            yield HEARTBEAT
        with torch.inference_mode():
            return joined(parts)

    def _sampled(
        self,
        sampling: Sampling,
        inputs: Sequence[WindowInput],
        given: Conditions,
    ) -> Generator[SamplerStep | Heartbeat, None, list[WindowOutput]]:
        """Draw all samples of each window, and combine them."""
        samples, factor = sampling.samples, sampling.spread_factor
        # a window's samples follow each other, so that few of them wait for the last
        draws = [(k, stream) for k in range(len(inputs)) for stream in range(samples)]
        at_once = max(len(inputs), POOL_BATCHES * sampling.batch_size)
        outputs: list[WindowOutput] = []
        waiting: list[WindowOutput] = []
        for start in range(0, len(draws), at_once):
            some = draws[start : start + at_once]
            waiting += yield from self._draw(sampling, inputs, some, given)
            while len(waiting) >= samples:
                outputs.append(combine(waiting[:samples], factor))
                del waiting[:samples]
        return outputs

    def _draw(
        self,
        sampling: Sampling,
        inputs: Sequence[WindowInput],
        draws: Sequence[tuple[int, int]],
        given: Conditions,
    ) -> Generator[SamplerStep | Heartbeat, None, list[WindowOutput]]:
        """Draw samples, each of one of the windows (its index) from a stream of noise."""
        windows = [inputs[k] for k, _ in draws]
        with torch.inference_mode():
            rows = torch.tensor([k for k, _ in draws], device=given.primary.device)
            denoiser = self._denoiser(given.primary[rows], given.secondary[rows])
        streams = [stream for _, stream in draws]
        steps = self._steps(sampling, denoiser.denoise, windows, streams, denoiser.primary.shape)
        while True:
            # inference mode belongs to the thread: never leave it on across a yield
            with torch.inference_mode():
                step = next(steps, None)
            if step is None:
                break
            x = step.x
            yield step
        images = []
        for start in range(0, len(draws), self.first_stage_batch):
            with torch.inference_mode():
                some = slice(start, start + self.first_stage_batch)
                features = [f[rows[some]] for f in given.features]
                other = given.secondary_image[rows[some]]
                images.append(self._decode(x[some], features, other, denoiser.multi[some]))
            yield HEARTBEAT
        with torch.inference_mode():
            uncertainty = denoiser.uncertainty().cpu().numpy()
        return outputs_of(
            windows, np.concatenate(images), uncertainty, denoiser.multi.cpu().numpy()
        )

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

    def _denoiser(self, primary: Tensor, secondary: Tensor) -> Denoiser:
        """Return the denoiser of a pool: in batches, with the decoder that each window needs."""
        gamma, size = self.sampling.gamma, self.sampling.batch_size

        def gated(x_t: Tensor, t: Tensor) -> Gated:
            return self.model.gated_noise(x_t, t, primary, secondary, gamma, size)

        return Denoiser(gated, primary, self.model.config.read_out == "mean")

    @torch.inference_mode()
    def window_seconds(self, side: int) -> float:
        """Time a blank window of `side` px on this thread: both encoders, all steps, decoder.

        One step of one full batch stands for all, so this takes a fraction of a second.
        """
        alone = self.first_stage_batch
        threads = torch.get_num_threads()
        if self.device == "cpu":
            torch.set_num_threads(1)
        try:
            blank = [np.zeros((side, side), np.float32)] * alone
            start = time.perf_counter()
            given = self._encode([WindowInput((0, 0), (0, 0), image, image) for image in blank])
            encoders = self._since(start) / alone
            start = time.perf_counter()
            everywhere = torch.ones((alone, 1, 1), dtype=torch.bool, device=self.device)
            self._decode(given.primary, given.features, given.secondary_image, everywhere)
            decoder = self._since(start) / alone
            batch = [
                z[:1].expand(self.sampling.batch_size, -1, -1, -1)
                for z in (given.primary, given.secondary)
            ]
            denoiser = self._denoiser(*batch)
            t = torch.full((self.sampling.batch_size,), 500, device=self.device)
            denoiser.denoise(batch[0], t)  # the first use of anything is slower
            start = time.perf_counter()
            denoiser.denoise(batch[0], t)
            step = self._since(start) / self.sampling.batch_size
        finally:
            torch.set_num_threads(threads)
        encoders *= self.sampling.views
        return encoders + self.sampling.images * decoder + step * self.sampling.window_steps

    def _since(self, start: float) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def _encode(self, windows: Sequence[WindowInput]) -> Conditions:
        """Encode one call's worth of windows, or fewer: then the batch is filled up."""
        images = {role: self._images(windows, role) for role in ("primary", "secondary")}
        kept = len(windows)
        primary, features = self.model.encode_primary(images["primary"])
        secondary = self.model.encode(images["secondary"], "secondary")
        return Conditions(
            primary[:kept],
            secondary[:kept],
            [f[:kept] for f in features],
            images["secondary"][:kept],
        )

    def _images(self, windows: Sequence[WindowInput], role: str) -> Tensor:
        stacked = torch.from_numpy(np.stack([getattr(window, role) for window in windows]))
        channels = self.model.first_stage(role).config.image_channels
        return self._filled(stacked[:, None].to(self.device)).expand(-1, channels, -1, -1)

    def _decode(
        self, x_0: Tensor, features: Sequence[Tensor], secondary: Tensor, multi: Tensor
    ) -> Floats:
        """Clean latents (b, c, h, w) of one call or fewer -> relative intensity (b, h, w)."""
        guide = [self._filled(each) for each in features]
        other = self._filled(where_multi(secondary, multi)) if features else None
        images = self.model.decode(self._filled(x_0), primary=guide, secondary=other)
        relative: Floats = ((images[: len(x_0)].mean(dim=1) + 1) / 2).float().cpu().numpy()
        return relative

    def _filled(self, batch: Tensor) -> Tensor:
        """Repeat the last row until the batch is as large as every call's."""
        ((index, _),) = fixed_batches(len(batch), self.first_stage_batch, batch.device)
        return batch[index]


def outputs_of(
    inputs: Sequence[WindowInput], images: Floats, uncertainty: Floats, multi: NDArray[np.bool_]
) -> list[WindowOutput]:
    """Return the outputs of windows: images (b, h, w), the rest as tokens (b, th, tw)."""
    codes = np.where(multi, Branch.MULTI_MODAL, Branch.UNI_MODAL).astype(np.uint8)
    return [
        WindowOutput(
            each.window,
            images[k],
            tokens_to_cells(uncertainty[k]),
            np.rint(tokens_to_cells(codes[k])).astype(np.uint8),
            familiarity=each.familiarity,
        )
        for k, each in enumerate(inputs)
    ]
