"""Train the autoencoder of recipe "ours" on pictures of many kinds; no real section among them.

Run: python tests/benchmarks/train_autoencoder.py WORK_DIR [--steps 6500] [--preset small]
         [--device cpu] [--batch 4]

1. Pictures: sections of the widest preset of the simulator, drawn lines, cells, spots, texture and
   haze, and the photographs that scikit-image ships; each crop with tones, focus and noise anew.
2. One autoencoder learns them all. Its state goes to WORK_DIR every minute; run the same again to
   go on after any interruption.
3. WORK_DIR/ours.safetensors is the autoencoder: what new models of our recipe start with, when it
   lies in weights/autoencoders.

With --device cuda crops are made on the card, a step is recorded, and it computes in bfloat16; that
has not been run on a card yet. What is random differs between the two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from napari_damm.model import DAMM, Autoencoder, DAMMConfig
from napari_damm.model.layers import memory_format
from napari_damm.model_file import save_autoencoder
from napari_damm.train.autoencoder import AutoencoderState, AutoencoderTraining, train_autoencoder
from napari_damm.train.autoencoder.device_pictures import DevicePictures
from napari_damm.train.autoencoder.pictures import PicturePool
from napari_damm.train.recorded_step import recorder_for

BATCH, CROP_PX, EMA_DECAY, RATE = 4, 128, 0.999, 1e-3
SAVE_EVERY_S, PRINT_EVERY = 60.0, 100
TRAINED_ON = "simulated sections, drawn pictures, photographs of scikit-image; no real section"


def batches(pool: PicturePool, count: int, device: str) -> Callable[[int], torch.Tensor]:
    """Return what makes the batch of a step, on a device."""
    if device == "cuda":
        return DevicePictures(pool, count, CROP_PX, device).batch

    def batch(step: int) -> torch.Tensor:
        return pool.batch(step, count, CROP_PX).contiguous(memory_format=torch.channels_last)

    return batch


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and say how it goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=6500)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=BATCH)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DAMM(DAMMConfig.of_preset(args.preset, "ours"))
    stage = model.first_stage("primary").to(
        device=args.device, memory_format=memory_format(args.device)
    )
    assert isinstance(stage, Autoencoder)
    half = args.device == "cuda"
    config = AutoencoderTraining(args.steps, 0, RATE, ema_decay=EMA_DECAY, half=half)
    state = AutoencoderState(stage, config)
    args.work.mkdir(parents=True, exist_ok=True)
    checkpoint = args.work / "autoencoder.ckpt"
    if checkpoint.exists():
        state.load(checkpoint)
    batch = batches(PicturePool(), args.batch, args.device)
    recorder = recorder_for(args.device, 1)
    saved = time.monotonic()
    for step in train_autoencoder(stage, batch, config, state, recorder):
        if step.step % PRINT_EVERY == 0:
            print(f"step {step.step} of {step.steps}: loss {step.loss:.4f}", flush=True)
        if time.monotonic() - saved > SAVE_EVERY_S or step.step == step.steps:
            state.save(checkpoint)
            saved = time.monotonic()
    card = {"trained_on": TRAINED_ON, "steps": args.steps, "licence": "BSD-3-Clause"}
    print(save_autoencoder(stage.cpu(), args.work / "ours.safetensors", card))


if __name__ == "__main__":
    main()
