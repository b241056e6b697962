"""Views and batches made on a device are those of the loop on the processor, to the last bits.

Shown on tensors of the processor.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jobs import quick_first_stages
from tape import Waits
from training_data import blobs, layers
from trainings import base_model, config, of, run

from napari_damm.dataset import open_sections, survey
from napari_damm.dataset.patches import Patch, split_patches
from napari_damm.dataset.views import View, planted_share, read_view
from napari_damm.events import TrainStep
from napari_damm.train import device_batches, start
from napari_damm.train.batches import Batches
from napari_damm.train.device_batches import DeviceBatches, sections_on_card
from napari_damm.train.device_views import DeviceSections
from napari_damm.train.state import TrainState
from napari_damm.train.step import GATED, NoiseStep

CELL = 8
SPOT = (100.0, 120.0, 60.0)


class Pictures:
    """Stands for a `Field`: pictures in memory."""

    def __init__(self, shape, seed):
        self.shape = shape
        self.images = [blobs(shape, seed + k) / 2000.0 - 1 for k in range(3)]
        self.images = [image.clip(-1, 1).astype(np.float32) for image in self.images]
        self.planted = (blobs(shape, seed + 9) > 2000).astype(np.float32)

    def read(self, role, box):
        return self.part(self.images[("primary", "secondary", "target").index(role)], box)

    def read_planted(self, box):
        return self.part(self.planted, box)

    def part(self, image, box):
        beyond = [(0, max(0, end - n)) for end, n in zip((box.y1, box.x1), self.shape, strict=True)]
        return np.pad(image, beyond, mode="reflect")[box.y0 : box.y1, box.x0 : box.x1]


VIEWS = [
    View(0, 0),
    View(1, 2, turns=1),
    View(2, 1, turns=2, flip=True),
    View(0, 3, turns=3, flip=True, shift=(1, -2), gain=1.1),
    View(1, 1, shift=(40, -63), misleads=True),
    View(2, 3, turns=1, flip=True, shift=(-7, 30), gain=0.2, misleads=True, spot=SPOT),
    View(1, 0, turns=2, blur=5.5, misleads=True),
    View(0, 2, turns=3, blur=4.0, misleads=True, spot=SPOT),
    View(4, 5, shift=(3, 3)),  # beyond the border of both
]


def test_views_are_those_that_are_read_one_by_one():
    fields = [Pictures((330, 400), 0), Pictures((350, 390), 50)]
    numbers = [k % 2 for k in range(len(VIEWS))]
    images, planted = DeviceSections(fields, "cpu").read(numbers, VIEWS, CELL)
    assert images.dtype == planted.dtype == torch.float32
    for k, (number, view) in enumerate(zip(numbers, VIEWS, strict=True)):
        patch = Patch(number, view.row, view.col, 1.0)
        np.testing.assert_allclose(images[k], read_view(fields, patch, view), atol=1e-5)
        share = planted_share(fields, patch, view, CELL)
        np.testing.assert_allclose(planted[k], share, atol=1e-5)


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1000)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def both(data, bank_bytes=2**30, **settings):
    fields, split = data
    wishes, model = config(**{"batch_size": 4, "variants": 3, **settings}), base_model()
    sections = DeviceSections(fields, "cpu")
    made = DeviceBatches(model, fields, split, wishes, None, sections, bank_bytes)
    return Batches(model, fields, split, wishes), made, model, wishes


def test_crops_are_those_of_the_loop(data):
    loop, device, *_ = both(data, jitter=0.5)
    for known, found in zip(loop.crops(3, 3, 128, 0.5), device.crops(3, 3, 128, 0.5), strict=True):
        torch.testing.assert_close(found, known, atol=1e-5, rtol=0)


def test_a_step_on_the_device_is_that_of_the_loop(data):
    loop, device, model, wishes = both(data, jitter=0.5, crop_px=128, crop_until=1.0)
    losses = []
    for batches in (loop, device):
        state = TrainState(model.unet, 1e-3)
        step = NoiseStep(model.unet, state, wishes, model.config.unet)
        losses.append(step.backward(batches.batch(1, 0.5), 1, GATED, 1, 0))
        losses.append(sum(float(p.grad.abs().sum()) for p in model.unet.parameters()))
        state.discard()
    assert losses[2].loss == pytest.approx(losses[0].loss, rel=1e-5)
    assert losses[3] == pytest.approx(losses[1], rel=1e-5)


def test_latents_of_a_view_are_encoded_once(data):
    loop, device, *_ = both(data)
    first, again = device.batch(0), device.batch(0)
    assert device.encoded == 4
    for known, a, b in zip(loop.batch(0), first, again, strict=True):
        assert torch.equal(a, b)
        # both are rounded to float16, where a last bit may fall either way
        torch.testing.assert_close(a, known, atol=1e-5, rtol=2e-3)


def bytes_for(records):
    return records * (2 * 3 * 4 * 32**2 + 4 * 32**2)


@pytest.fixture
def quick(monkeypatch):
    """Encode by plain pooling: what it is done with has tests of its own."""
    quick_first_stages(monkeypatch.setattr)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("records", [8, 11, 100])
def test_whatever_the_bank_has_room_for_a_step_sees_what_it_sees_in_the_loop(data, records):
    loop, device, *_ = both(data, bytes_for(records))
    assert device.bank.size == min(records, 3 * device.schedule.patches)
    for step in (0, 1, 2, 3, 4, 5, 6, 1):
        for known, found in zip(loop.batch(step), device.batch(step), strict=True):
            torch.testing.assert_close(found, known, atol=1e-5, rtol=2e-3)
    # where all have room, none is encoded again
    assert (device.encoded == device.bank.size) == (records == 100)


@pytest.mark.usefixtures("quick")
def test_a_tenth_of_the_bank_is_renewed_at_a_time_and_known_windows_are_not_read(data, monkeypatch):
    _, device, *_ = both(data, bytes_for(30), batch_size=1, variants=40)
    read, counts = device.sections.read, []
    monkeypatch.setattr(
        device.sections,
        "read",
        lambda numbers, *rest: counts.append(len(numbers)) or read(numbers, *rest),
    )
    for step in range(9):
        device.batch(step)
    assert counts == [3, 3, 3]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("records", "variants", "together"), [(100, 3, 4), (0, 3, 4), (100, 40, 6), (0, 40, 4)]
)
def test_latents_are_encoded_as_many_at_a_time_whatever_lies_there(
    data, monkeypatch, records, variants, together
):
    monkeypatch.setattr(device_batches, "TOGETHER", 6)
    made = []
    for first in (0, 3, 5):  # begun anew, and resumed
        _, device, model, _ = both(data, bytes_for(records), batch_size=4, variants=variants)
        encode, counts = model.encode, []
        monkeypatch.setattr(
            model,
            "encode",
            lambda image, role, encode=encode, counts=counts: (
                counts.append(len(image)) or encode(image, role)
            ),
        )
        for step in range(first, 6):
            latents = device.batch(step)
        assert set(counts) == {together}
        made.append(latents)
    for other in made[1:]:
        assert all(torch.equal(a, b) for a, b in zip(made[0], other, strict=True))


def test_a_bank_of_less_than_two_batches_is_of_no_use(data):
    assert both(data, bytes_for(7))[1].bank.size == 0


def test_without_room_for_latents_each_step_encodes_its_own(data):
    fields, split = data
    sections = DeviceSections(fields, "cpu")
    device = DeviceBatches(
        base_model(), fields, split, config(batch_size=2), None, sections, bank_bytes=0
    )
    for a, b in zip(device.batch(0), device.batch(0), strict=True):
        assert torch.equal(a, b)
    assert device.encoded == 4


def test_without_a_card_sections_stay_where_they_are(data):
    fields, _ = data
    assert sections_on_card(fields, torch.device("cpu")) is None


def test_sections_take_what_they_are_said_to(data):
    fields, _ = data
    pixels = DeviceSections(fields, "cpu")._pixels
    assert DeviceSections.bytes_of(fields) == pixels.element_size() * pixels.numel()


@pytest.mark.slow
def test_a_whole_training_on_the_device_is_that_of_the_loop(tmp_path, monkeypatch):
    known = [event.loss for event in of(run(tmp_path / "loop"), TrainStep)]

    def there(fields, device):
        return DeviceSections(fields, device)

    monkeypatch.setattr(start, "sections_on_card", there)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**30, 2**30))
    found = [event.loss for event in of(run(tmp_path / "device"), TrainStep)]
    assert len(found) == 4
    assert found == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("bank_bytes", [2**30, 0])
@pytest.mark.usefixtures("sent_as_to_a_card")
def test_views_crops_and_latents_are_had_without_waiting_for_the_device(data, bank_bytes):
    _, device, *_ = both(data, bank_bytes)
    device.batch(0)
    with Waits() as waits:
        device.sections.read([0] * len(VIEWS), VIEWS, CELL)
        device.crops(0, 2, 128, 0.5)
        if bank_bytes:
            device.batch(0)
    assert waits.sent > 8
    assert not waits.noted
