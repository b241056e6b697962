"""Crops made on a device, together, are those that are made one by one; shown on a processor."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from tape import Waits

from napari_damm.train.autoencoder.device_pictures import (
    DevicePictures,
    bicubic_weights,
    compressed,
)
from napari_damm.train.autoencoder.pictures import KINDS, SHARES, PicturePool

COUNT, SIZE = 12, 64
GREY = 127.5


@pytest.fixture(scope="module")
def pool():
    """Noise of all sizes: the code does not look at what it shows."""
    made = PicturePool.__new__(PicturePool)
    rng = np.random.default_rng(0)
    shapes = [(40, 300), (200, 150), (64, 64), (160, 160)]
    soft = [np.cumsum(rng.normal(0, 0.1, shape), axis=1) for shape in shapes]
    made.pictures = {
        kind: [((np.sin(each + k) + 1) / 2).astype(np.float32) for each in soft]
        for k, kind in enumerate(SHARES)
    }
    assert len(SHARES) > len(KINDS)
    return made


@pytest.fixture
def there(pool):
    made = DevicePictures(pool, COUNT, SIZE, "cpu")
    yield made
    made.close()


def test_crops_are_those_of_the_pool(pool, there):
    seen = []
    for step in (0, 1, 2, 7, 3):
        known, found = pool.batch(step, COUNT, SIZE), there.batch(step)
        assert found.shape == (COUNT, 1, SIZE, SIZE)
        drawn = pool.drawn(step, COUNT, SIZE)
        off = (found - known).abs().flatten(1) * GREY
        for one, each in zip(off, drawn, strict=True):
            if each.exposure.quality is None:
                assert float(one.max()) < 1e-2
            else:
                assert float(one.mean()) < 0.6
            seen.append(each)
    # all that may befall a crop has been looked at
    assert {each.cut.turns for each in seen} == {0, 1, 2, 3}
    assert {each.cut.mirrored for each in seen} == {True, False}
    assert {np.sign(each.exposure.sharpened) for each in seen} == {-1, 0, 1}
    assert {each.exposure.inverted for each in seen} == {True, False}
    assert len({each.cut.side > SIZE for each in seen}) == 2
    for name in ("grain", "quality"):
        assert len({getattr(each.exposure, name) is None for each in seen}) == 2


@pytest.mark.parametrize("side", [30, 64, 65, 140])
def test_a_crop_is_resampled_as_pillow_does(side):
    rng = np.random.default_rng(side)
    image = rng.random((side, side), np.float32)
    known = Image.fromarray(image, mode="F").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    (weights,) = bicubic_weights(torch.tensor([[[side]]]), SIZE, side + 3)
    assert not weights[:, side:].any()
    weights = weights[:, :side]
    found = weights @ torch.from_numpy(image) @ weights.T
    np.testing.assert_allclose(found, np.asarray(known), atol=2e-5)
    if side == SIZE:
        assert torch.equal(weights, torch.eye(SIZE))


@pytest.mark.parametrize("quality", [50, 70, 95])
@pytest.mark.parametrize("shape", [(64, 64), (50, 37)])
def test_a_jpeg_loses_what_pillow_s_does(quality, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    rng = np.random.default_rng(0)
    image = (np.sin(y / 5) + np.cos(x / 7) + 2) / 4 + rng.normal(0, 0.05, shape)
    grey = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    known = np.asarray(Image.open(buffer), np.float32)
    given = torch.from_numpy(grey / np.float32(255))[None]
    found = compressed(given, [quality])[0].numpy() * 255
    lost = np.abs(known - grey).mean()
    assert np.abs(found - known).mean() < 0.3 * lost  # a coefficient may be rounded either way
    assert np.mean(np.abs(found - known) > 1.5) < 0.1


def test_several_qualities_at_once_are_each_its_own():
    images = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0))
    both = compressed(images, [50, 90])
    for k, quality in enumerate((50, 90)):
        assert torch.equal(both[k], compressed(images[k : k + 1], [quality])[0])


@pytest.mark.usefixtures("sent_as_to_a_card")
def test_a_batch_is_had_without_waiting_for_the_device(there):
    with Waits() as waits:
        there.batch(0)
    assert waits.sent > 10
    assert not waits.noted


def test_the_next_batch_is_drawn_while_this_one_is_made(pool, there, monkeypatch):
    there.batch(4)
    coming = there._coming[5].result(10)
    asked, drawn = [], PicturePool.drawn
    monkeypatch.setattr(
        PicturePool, "drawn", lambda *given: asked.append(given[1]) or drawn(*given)
    )
    there.batch(5)
    there._coming[6].result(10)
    assert asked == [6]
    known = pool.drawn(5, COUNT, SIZE)
    assert [each[:3] for each in coming] == [each[:3] for each in known]
