"""What the autoencoder learns from: pictures of many kinds, as cameras could have taken them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_damm.train.autoencoder import camera, pictures
from napari_damm.train.autoencoder.image_losses import FLAT, faithful_loss


@pytest.fixture(scope="module")
def pool():
    return pictures.PicturePool(sections=1, drawn=len(pictures.KINDS))


def test_there_are_pictures_of_every_kind_in_0_to_1(pool):
    assert all(pool.pictures[kind] for kind in pictures.SHARES)
    for found in pool.pictures.values():
        for picture in found:
            assert picture.dtype == np.float32
            assert picture.min() >= 0
            assert picture.max() <= 1
            assert picture.std() > 0.005


def test_a_batch_depends_on_its_step_alone(pool):
    one, again, other = pool.batch(3, 4, 64), pool.batch(3, 4, 64), pool.batch(4, 4, 64)
    assert one.shape == (4, 1, 64, 64)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one.abs().max()) <= 1


@pytest.mark.parametrize("kind", sorted(pictures.KINDS))
def test_a_drawn_picture_depends_on_its_seed_alone(kind):
    seed = list(pictures.KINDS).index(kind)
    drawn = pictures.procedural(seed, 96)
    assert np.array_equal(drawn, pictures.procedural(seed, 96))
    assert not np.array_equal(drawn, pictures.procedural(seed + len(pictures.KINDS), 96))


def test_a_cut_is_of_the_size_asked_for_even_from_a_small_picture():
    rng = np.random.default_rng(0)
    for shape in ((40, 300), (64, 64), (500, 70)):
        picture = rng.random(shape, np.float32)
        for _ in range(8):
            drawn = camera.draw_cut(shape, rng, 64)
            assert camera.cut(picture, drawn, 64).shape == (64, 64)


def test_the_faithful_loss_of_a_picture_and_itself_is_zero():
    image = torch.rand(2, 1, 32, 32) * 2 - 1
    assert float(faithful_loss(image, image)) == pytest.approx(0, abs=1e-6)


def test_the_faithful_loss_weighs_the_error_by_the_picture_s_variance():
    image = (torch.arange(32) % 2 * 2.0 - 1).expand(1, 1, 32, 32)
    shifted = image * 0.5
    error = 0.25 / (float(image.var()) + FLAT)
    ssim = 4 * (faithful_loss(shifted, image) - 0.5 - 2 * error)
    assert 0 < float(ssim) < 1
