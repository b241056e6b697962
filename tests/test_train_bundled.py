"""The training of the bundled model: what it sees, what learns, pieces, and drawing at the end."""

from __future__ import annotations

import itertools
import queue
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundled import drawing, judging, learner, training
from bundled.learner import Learner
from bundled.sections import CHANNELS, SIZE, Sections
from bundled.settings import Settings
from bundled.training import Training, rate_at

from napari_damm.util.tiling import WINDOW

SETTINGS = Settings(
    minutes=1, device="cpu", batch=4, windows=2, bank=8, renewed=2, sections=2, first=2
)


class Drawn(queue.SimpleQueue):
    """Stands for the processes: sections of noise, without end."""

    def get(self, block=True, timeout=None):
        if not block:
            raise queue.Empty
        pixels = np.random.default_rng(1).uniform(-1, 1, (CHANNELS, SIZE, SIZE))
        pixels[3] = pixels[3] > 0.99
        return pixels.astype(np.float16)


@pytest.fixture(scope="module")
def sections():
    return Sections(SETTINGS, Drawn())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(training, "STATISTICS_BATCHES", 1)
    monkeypatch.setattr(training, "FIRST_LATENTS", 1)


def test_a_window_is_a_piece_of_a_section_turned_or_mirrored_with_what_misleads_there(sections):
    pixels = torch.arange(SIZE * SIZE).reshape(SIZE, SIZE)
    held, sections.pixels = sections.pixels, pixels.expand(2, CHANNELS, -1, -1)
    try:
        images, misleads = sections.windows(40, torch.Generator().manual_seed(0))
    finally:
        sections.pixels = held
    seen = set()
    for image, planted in zip(images, misleads, strict=True):
        assert torch.equal(image[0], planted)
        for quarters, mirrored in itertools.product(range(4), (False, True)):
            turned = torch.rot90(image[0], quarters)
            turned = turned.flip(1) if mirrored else turned
            y, x = divmod(int(turned[0, 0]), SIZE)
            if torch.equal(turned, pixels[y : y + WINDOW, x : x + WINDOW].float()):
                seen.add((quarters, mirrored))
                break
        else:
            pytest.fail("a window is nowhere in the section")
    assert len(seen) == 8


def shown(sections, model, made):
    images, misleads = sections.windows(2, torch.Generator().manual_seed(0))
    bank = learner.Bank(model, sections, SETTINGS)
    bank.renew(4, torch.Generator().manual_seed(0))
    latents, planted = bank.draw(4, torch.Generator().manual_seed(1))
    made.show(
        latents=latents, planted=planted, t=torch.tensor([10, 900]),
        eps=torch.randn(latents[:2, 0].shape), images=images,
        images_planted=learner.shares(misleads, model.config.latent_factor),
    )  # fmt: skip


def test_steps_on_pixels_teach_the_guide_and_the_detail_and_never_an_autoencoder(sections):
    model = training.new_model(0, torch.device("cpu"))
    made = Learner(model, torch.device("cpu"))
    shown(sections, model, made)

    def moved(pixels):
        before = {k: v.clone() for k, v in model.state_dict().items()}
        for _ in range(2):
            made.step(pixels, (1e-3, 1e-3), averages=False)
        after = model.state_dict()
        names = [name for name, _ in model.named_parameters()]
        return {n for n in names if not torch.equal(before[n], after[n])}

    learnt = moved(pixels=False)
    assert learnt
    assert all(name.startswith("unet.") for name in learnt)
    learnt = moved(pixels=True)
    assert all(
        name.startswith(("unet.", "detail.", "first_stages.target.guide.")) for name in learnt
    )
    assert any(name.startswith("detail.") for name in learnt)
    assert any(".guide." in name for name in learnt)
    assert float(made.losses["map"]) > 0


def test_the_multi_modal_branch_does_not_learn_from_what_misleads(sections):
    model = training.new_model(0, torch.device("cpu"))
    made = Learner(model, torch.device("cpu"))
    shown(sections, model, made)
    made.seen["planted"].fill_(1.0)
    made._work(pixels=False)
    output = model.unet.multi.output
    assert not output.weight.grad.any()
    assert model.unet.uni.output.weight.grad.any()


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_training_ends_in_time_and_goes_on_where_it_ended(sections, tmp_path, capsys):
    kept = tmp_path / "kept.pt"
    clock = itertools.count(step=15.0).__next__
    first = Training(SETTINGS, kept)
    assert not first.run(sections, 31.0, clock)  # a step each 15 s, of a minute
    assert (first.step, first.pixel_steps, first.pieces) == (2, 0, 1)
    second = Training(SETTINGS, kept)
    assert (second.step, second.pieces, second.share) == (2, 1, first.share)
    for one, other in zip(first.learner.average[0], second.learner.average[0], strict=True):
        assert torch.equal(one, other)
    assert second.run(sections, 1e9, clock)
    assert second.step > second.pixel_steps > 0
    assert second.share == 1
    assert not second.model.training
    assert second.told()["sections"] == 2 * sections.count
    again = Training(replace(SETTINGS, processes=7), kept)
    assert again.run(sections, 1e9, clock)  # nothing is left to learn
    assert (again.step, again.sections) == (second.step, second.sections)
    with pytest.raises(ValueError, match="other settings"):
        Training(Settings(device="cpu"), kept)


def test_where_nobody_draws_any_more_it_ends():
    class Dead:
        exitcode = -9

        def is_alive(self):
            return False

    with pytest.raises(RuntimeError, match="ended with -9"):
        Sections(SETTINGS, queue.Queue(), [Dead()])


def test_the_card_says_what_it_learns_from():
    card = training.new_card()
    assert card["training_data"]["kind"] == "simulated"
    assert "no real tissue" in card["training_data"]["description"]


def test_a_rate_warms_up_and_falls():
    assert rate_at(0, 0) == pytest.approx(1 / training.WARM_UP)
    assert rate_at(0, 10_000) == 1
    assert rate_at(1, 10_000) == pytest.approx(training.LEAST_RATE)


def test_the_detail_learns_to_draw_and_nothing_else_does(monkeypatch):
    monkeypatch.setattr(drawing, "STATISTICS_BATCHES", 2)
    model = training.new_model(0, torch.device("cpu"))
    rng = np.random.default_rng(0)
    smooth = rng.uniform(-1, 1, (4, 1, 8, 8)).repeat(32, 2).repeat(32, 3)
    noise = rng.normal(0, 0.2, smooth.shape)
    pool = np.concatenate([smooth + noise, noise, noise, smooth], axis=1).astype(np.float16)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    clock = itertools.count(step=4.0).__next__
    monkeypatch.setattr(drawing.time, "monotonic", clock)
    assert drawing.learn(model, pool, minutes=1) > 5
    after = model.state_dict()
    learnt = {n for n, _ in model.named_parameters() if not torch.equal(before[n], after[n])}
    assert learnt
    assert all(name.startswith("detail.") for name in learnt)
    assert not model.training


def test_a_map_that_shows_nothing_is_judged_worse_than_one_that_shows_something():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 9, (2, 1, 8, 8)).repeat(8, 2).repeat(8, 3).astype(np.float32)
    noise = rng.normal(0, 1, true.shape).astype(np.float32)
    good, dark = (judging.ssim_of(each, true) for each in (0.3 * true + noise, 1e-3 * noise))
    assert dark < good < judging.ssim_of(true - 4, true) == pytest.approx(1)


def test_what_judges_needs_no_more_than_a_model():
    model = training.new_model(0, torch.device("cpu")).eval()
    found = judging.judged(model, 1)
    assert set(found) == set(judging.PRESETS)
    assert all(np.isfinite(list(numbers.values())).all() for numbers in found.values())
