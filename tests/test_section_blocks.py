"""Sections that do not fit on a device: what is learnt of them is what it is of those that do."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tape import Waits
from test_device_batches import CELL, VIEWS, Pictures
from training_data import images, layers
from trainings import base_model, config, of, run, small, weights

from napari_damm.dataset import SectionSource, open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.dataset.views import View
from napari_damm.events import Finished, Notice, TrainStep
from napari_damm.train import device_batches, section_blocks, start
from napari_damm.train.batches import Batches
from napari_damm.train.device_batches import DeviceBatches, sections_within
from napari_damm.train.device_views import DeviceSections, images_of
from napari_damm.train.section_blocks import BLOCK_BYTES, SectionBlocks
from napari_damm.util.tiling import Box

pytestmark = pytest.mark.usefixtures("quick_first_stages")
RECORD = 2 * 3 * 4 * 32**2 + 4 * 32**2


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1000)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def both(data, blocks, bank_bytes=2**30, **settings):
    """Return batches of sections that lie there as a whole, and of so many blocks of them."""
    fields, split = data
    wishes, model = config(**{"batch_size": 4, "variants": 3, **settings}), base_model()
    kinds = DeviceSections(fields, "cpu"), SectionBlocks(fields, "cpu", blocks * BLOCK_BYTES)
    return [
        DeviceBatches(model, fields, split, wishes, None, sections, bank_bytes)
        for sections in kinds
    ]


@pytest.mark.parametrize("room", [4, 5, 100])
def test_whatever_there_is_room_for_views_are_the_same_to_the_bit(room):
    fields = [Pictures((330, 400), 0), Pictures((350, 390), 50), Pictures((700, 610), 80)]
    views = [*VIEWS, View(13, 10, turns=1), View(9, 11), View(0, 0, shift=(30, -20))]
    numbers = [k % 2 for k in range(len(VIEWS))] + [2, 2, 2]
    blocks = SectionBlocks(fields, "cpu", room * BLOCK_BYTES)
    assert len(blocks._pixels) == min(room, 4 + 4 + 9)
    known = DeviceSections(fields, "cpu").read(numbers, views, CELL)
    for _ in range(2):
        for a, b in zip(known, blocks.read(numbers, views, CELL), strict=True):
            assert torch.equal(a, b)


def test_what_lies_there_is_not_read_again_and_what_was_not_needed_for_longest_goes():
    blocks = SectionBlocks([Pictures((256, 2000), 0)], "cpu", 4 * BLOCK_BYTES)

    def read(col):
        before = blocks.blocks_read
        blocks.read([0], [View(0, col)], CELL)
        return blocks.blocks_read - before

    assert [read(0), read(8), read(4), read(16)] == [1, 1, 0, 1]
    assert [read(24), read(0)] == [1, 0]  # there is room for four
    assert [read(32), read(0), read(16), read(8)] == [1, 0, 0, 1]  # the second had waited longest


@pytest.mark.parametrize("bank_bytes", [2**30, 11 * RECORD, 0])
def test_batches_of_blocks_are_those_of_whole_sections_to_the_bit(data, bank_bytes):
    whole, blocks = both(data, 5, bank_bytes, jitter=0.5)
    for step in (0, 1, 2, 3, 1):
        for a, b in zip(whole.batch(step), blocks.batch(step), strict=True):
            assert torch.equal(a, b)
        for a, b in zip(
            whole.crops(step, 3, 128, 0.5), blocks.crops(step, 3, 128, 0.5), strict=True
        ):
            assert torch.equal(a, b)
    assert blocks.sections.blocks_read > 8  # some came again


def test_pixels_of_the_next_step_are_read_before_they_are_asked_for(data, monkeypatch):
    _, blocks = both(data, 8)
    read, ready = SectionBlocks._pixels_of, threading.Event()
    asked = []

    def pixels_of(self, block):
        asked.append(block)
        if len(asked) > 8:
            ready.set()
        return read(self, block)

    monkeypatch.setattr(SectionBlocks, "_pixels_of", pixels_of)
    known = blocks.sections._needed(*places(blocks, 1))
    blocks.crops(0, 1, 128, 0.5)
    coming = set(blocks.sections._coming) | set(blocks.sections._places)
    assert set().union(*known) <= coming
    for future in blocks.sections._coming.values():
        future.result(10)
    before, waited = len(asked), blocks.sections.waited_s
    blocks.sections.read(*places(blocks, 1), CELL)
    assert len(asked) == before
    assert blocks.sections.waited_s == waited


def places(batches, step):
    drawn = batches._drawn_crops(step, 1, 128)
    return batches._places([(each.index, each.variant) for each in drawn], 0.5)


def test_latents_that_come_next_are_read_ahead_a_few_at_a_time(data, monkeypatch):
    monkeypatch.setattr(device_batches, "TOGETHER", 2)
    _, blocks = both(data, 8, 30 * RECORD, batch_size=1, variants=40)
    asked = []
    monkeypatch.setattr(blocks.sections, "ask", lambda numbers, views: asked.append(views))
    for step in range(4):
        blocks.batch(step)
    assert [len(views) for views in asked] == [2, 2]
    assert blocks.encoded == 4
    assert asked[0] == blocks._places([*pairs(blocks, 2), *pairs(blocks, 3)], None)[1]


def pairs(batches, step):
    return batches.schedule.views(batches.split, step)


def test_not_more_is_read_ahead_than_was_said(monkeypatch):
    monkeypatch.setattr(section_blocks, "MOST_AHEAD", 2)
    blocks = SectionBlocks([Pictures((256, 2000), 0)], "cpu", 8 * BLOCK_BYTES)
    assert blocks.ask([0, 0, 0], [View(0, 0), View(0, 8), View(0, 16)]) == 2
    assert set(blocks._coming) == {0, 1}
    assert blocks.ask([0], [View(0, 24)]) == 2  # what was asked for first makes room
    assert set(blocks._coming) == {1, 3}
    assert torch.isfinite(blocks.read([0] * 5, [View(0, 8 * k) for k in range(5)], CELL)[0]).all()


def test_time_is_waited_only_for_what_is_not_there(monkeypatch):
    blocks = SectionBlocks([Pictures((256, 600), 0)], "cpu", 4 * BLOCK_BYTES)
    read, may = SectionBlocks._pixels_of, threading.Event()
    monkeypatch.setattr(
        SectionBlocks, "_pixels_of", lambda self, block: may.wait(10) and read(self, block)
    )
    clock = iter([5.0, 7.0])

    def now():
        may.set()
        return next(clock)

    monkeypatch.setattr(section_blocks, "time", SimpleNamespace(perf_counter=now))
    for _ in range(2):
        blocks.read([0], [View(0, 0)], CELL)
        assert blocks.waited_s == 2.0


class Torn(Pictures):
    """Cannot be read near its right border."""

    section = type("Section", (), {"name": "torn.tif"})

    def read(self, role, box):
        if box.x1 > 600:
            raise OSError("a chunk is damaged")
        return super().read(role, box)


def test_a_view_that_cannot_be_read_is_had_otherwise_or_refused():
    blocks = SectionBlocks([Torn((256, 700), 0)], "cpu", 4 * BLOCK_BYTES)
    views = [View(0, 0), View(0, 12)]
    other = np.full((3, 256, 256), 0.25, np.float32), np.full((32, 32), 0.5, np.float32)
    asked = []
    found, share = blocks.read([0, 0], views, CELL, lambda k: asked.append(k) or other)
    assert asked == [1]
    assert torch.equal(found[0], blocks.read([0], views[:1], CELL)[0][0])
    assert float(found[1].mean()) == 0.25
    assert float(share[1].mean()) == 0.5
    with pytest.raises(OSError, match=r"a part of torn\.tif cannot be read"):
        blocks.read([0, 0], views, CELL)


def test_patches_that_cannot_be_read_are_replaced_as_on_the_processor(data, monkeypatch):
    fields, split = data
    read = type(fields[0]).read

    def torn(self, role, box):
        if box.x1 > 500 and box.x0 < 530:
            raise OSError("a chunk is damaged")
        return read(self, role, box)

    wishes, model = config(batch_size=4, variants=3), base_model()
    monkeypatch.setattr(type(fields[0]), "read", torn)
    sections = sections_within(2**30, fields, "cpu")  # there is room, but for what is torn
    assert isinstance(sections, SectionBlocks)
    assert not sections.said()
    loop = Batches(model, fields, split, wishes)
    device = DeviceBatches(model, fields, split, wishes, None, sections, 2**30)
    for step in range(3):
        for known, found in zip(loop.batch(step), device.batch(step), strict=True):
            torch.testing.assert_close(found, known, atol=1e-5, rtol=2e-3)
    messages = loop.unreadable.messages
    assert messages
    assert set(device.unreadable.messages) == set(messages)


def test_sections_lie_there_as_a_whole_where_they_fit_and_in_blocks_where_not(data):
    fields, _ = data
    takes = DeviceSections.bytes_of(fields)
    assert isinstance(sections_within(takes, fields, "cpu"), DeviceSections)
    blocks = sections_within(takes - 1, fields, "cpu")
    assert isinstance(blocks, SectionBlocks)
    assert sections_within(4 * BLOCK_BYTES - 1, fields, "cpu") is None
    with pytest.raises(ValueError, match="room_bytes must be"):
        SectionBlocks(fields, "cpu", BLOCK_BYTES)


def test_bands_and_blocks_hold_what_a_section_holds(data):
    (field,), _ = data
    whole = images_of(field, Box(0, 0, *field.shape))
    assert np.array_equal(DeviceSections([field], "cpu")._pixels.numpy(), whole.reshape(4, -1))


@pytest.mark.usefixtures("sent_as_to_a_card")
def test_blocks_are_had_without_waiting_for_the_device(data):
    _, blocks = both(data, 5)
    blocks.sections.read([0], [View(0, 20)], CELL)
    with Waits() as waits:
        blocks.crops(0, 2, 128, 0.5)
    assert waits.sent > 8
    assert not waits.noted


def test_a_training_whose_sections_do_not_fit_is_that_of_those_that_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**30, 2**30))
    made = {}
    for name, room in (("whole", 2**30), ("blocks", 4 * BLOCK_BYTES)):
        monkeypatch.setattr(
            start, "sections_on_card", lambda *given, room=room: sections_within(room, *given)
        )
        with small():
            events = run(tmp_path / name, data=SectionSource(images((320, 900)), 1.0))
        assert of(events, Finished)
        said = [each.message for each in of(events, Notice) if "read in blocks" in each.message]
        assert len(said) == (name == "blocks")
        losses = [event.loss for event in of(events, TrainStep)]
        made[name] = losses, weights(tmp_path / name / "mine.safetensors")
    assert made["whole"][0] == made["blocks"][0]
    assert all(torch.equal(made["blocks"][1][k], v) for k, v in made["whole"][1].items())


def test_threads_that_read_end_with_the_training(data):
    _, blocks = both(data, 5)
    blocks.batch(0)
    threads = list(blocks.sections._readers._threads)
    blocks.close()
    for thread in threads:
        thread.join(10)
    assert threads
    assert not any(thread.is_alive() for thread in threads)
