"""What is measured on a graphics card is there to be measured."""

from __future__ import annotations

import argparse

import gpu
import gpu_training
import pytest

ARGS = {"size": 320, "batch": 4, "modes": ["expected", "draft"], "train_minutes": 0.1}


@pytest.mark.parametrize("way", gpu_training.WAYS)
def test_what_is_done_otherwise_is_there(way):
    for place, name, _ in gpu_training.WAYS[way].instead:
        assert hasattr(place, name)


def test_a_card_is_compared_with_what_it_does_without_and_a_processor_tries_the_rest():
    names = {}
    for device in ("cpu", "cuda"):
        args = argparse.Namespace(device=device, quick=True, compiled=False, **ARGS)
        names[device] = [name for name, _ in gpu.all_parts(args)]
        assert len(set(names[device])) == len(names[device])
    assert set(names["cpu"]) < set(names["cuda"])
    assert {"training, sections in blocks", "autoencoder of pictures"} <= set(names["cpu"])
    assert {"ladder", "training, autoencoders as on a CPU"} <= set(names["cuda"])
