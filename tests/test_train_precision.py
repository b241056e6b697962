"""A training in bfloat16: the expected map and its detail too, errors and weights in float32."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from models import randomise
from tape import Calls
from trainings import config, small

from napari_damm.model import DAMM, DAMMConfig
from napari_damm.train.batches import Crops
from napari_damm.train.detail_phase import DETAIL
from napari_damm.train.expected import choose_parameters
from napari_damm.train.fabric import Machine
from napari_damm.train.gradients import Gradients
from napari_damm.train.state import TrainState
from napari_damm.train.step import JOINT

WISHES = {"noise_every": 7, "expected_crops": 2, "batch_size": 2, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def _small():
    with small():
        yield


class Pictures:
    """Stands for `Batches`: crops of noise, of which some mislead in a part."""

    def crops(self, step, count, side, jitter):
        draw = torch.Generator().manual_seed(step)
        images = torch.rand(count, 3, side, side, generator=draw) * 2 - 1
        planted = torch.zeros(count, side // 8, side // 8)
        planted[0, : side // 16] = 1
        return Crops(images, planted)


def step(precision, number, phase, recorded):
    """Return the loss and the gradients of a step, and the types of what was computed."""
    model, wishes = randomise(DAMM(DAMMConfig.of_preset("tiny", "ours"))), config(**WISHES)
    choose_parameters(model)
    made = TrainState(model, 1e-4, faster=("detail.",))
    machine = Machine(config(**WISHES, precision=precision))
    parts = SimpleNamespace(config=wishes, machine=machine, model=model)
    grads = Gradients(parts, Pictures(), made)
    with Calls() as calls:
        if recorded:
            (piece,) = grads.pieces(number, 0.5, phase)
            loss = float(piece.gradients(*piece.given)[0])
        else:
            loss = grads.backward(number, 0.5, phase, 1).loss
    found = {n: p.grad.clone() for n, p in made.parameters.items() if p.grad is not None}
    kinds = {each[4].dtype for each in calls.noted if isinstance(each[4], torch.Tensor)}
    return loss, found, kinds


# the map; the uni-modal branch; the target's own latents; the detail
@pytest.mark.parametrize(("number", "phase"), [(1, JOINT), (8, JOINT), (15, JOINT), (1, DETAIL)])
@pytest.mark.parametrize("recorded", [False, True])
def test_the_map_is_learnt_in_the_precision_of_the_noise(number, phase, recorded):
    known, before, plain = step("32-true", number, phase, recorded)
    found, after, kinds = step("bf16-mixed", number, phase, recorded)
    assert torch.bfloat16 in kinds
    assert torch.bfloat16 not in plain
    assert found == pytest.approx(known, rel=0.02)
    assert found != known
    assert before.keys() == after.keys()
    assert {each.dtype for each in after.values()} == {torch.float32}
    one, other = (
        torch.cat([each[n].flatten() for n in sorted(before)]) for each in (before, after)
    )
    assert torch.cosine_similarity(one, other, dim=0) > 0.98
