from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from segsuite.data.augmentation import IntensityAugmentation, augment_batch, blur, change_gamma, mirror, reduce_resolution

torch.manual_seed(0)
IMAGE = torch.randn(4, 2, 12, 10, 8)
LABEL = torch.randint(0, 3, (4, 12, 10, 8))


def test_same_seed_same_batch_and_the_input_is_kept() -> None:
    before = IMAGE.clone()
    first, second, other = (augment_batch(IMAGE, LABEL, IntensityAugmentation(), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(IMAGE, before)


def test_nothing_happens_at_probability_zero() -> None:
    image, label = augment_batch(IMAGE, LABEL, IntensityAugmentation().scaled(0, mirror_axes=()), seed=0)
    assert torch.equal(image, IMAGE)
    assert torch.equal(label, LABEL)


def test_everything_at_once_stays_finite() -> None:
    image, _ = augment_batch(IMAGE, LABEL, IntensityAugmentation().scaled(10, mirror_axes=(0, 1, 2)), seed=0)
    assert torch.isfinite(image).all()
    constant, _ = augment_batch(IMAGE * 0, LABEL, IntensityAugmentation().scaled(10, mirror_axes=()), seed=0)
    assert torch.isfinite(constant).all()


def test_image_and_label_are_flipped_together() -> None:
    image = LABEL[:, None].float()
    for seed in range(5):
        moved, label = mirror(image, LABEL, (0, 1, 2), torch.Generator().manual_seed(seed))
        assert torch.equal(moved[:, 0].long(), label)


def test_axes_that_may_not_be_flipped_are_not() -> None:
    for seed in range(8):
        moved, _ = mirror(IMAGE, LABEL, (0,), torch.Generator().manual_seed(seed))
        assert all(torch.equal(m, i) or torch.equal(m, i.flip(1)) for m, i in zip(moved, IMAGE, strict=True))


def test_blur_is_a_gaussian() -> None:
    expected = ndimage.gaussian_filter(IMAGE[0, 0].numpy(), 0.8, truncate=5, mode="nearest")
    torch.testing.assert_close(blur(IMAGE[0], 0.8)[0], torch.from_numpy(expected), atol=1e-4, rtol=1e-3)


def test_low_resolution_keeps_shape_and_loses_detail() -> None:
    coarse = reduce_resolution(IMAGE[0], 0.5)
    assert coarse.shape == IMAGE[0].shape
    assert coarse.diff(dim=1).abs().mean() < 0.7 * IMAGE[0].diff(dim=1).abs().mean()


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_keeps_order_mean_and_spread(invert: bool) -> None:
    sample = IMAGE[0, :1]
    changed = change_gamma(sample, 1.4, invert=invert)
    assert torch.equal(changed.flatten().argsort(), sample.flatten().argsort())
    torch.testing.assert_close(changed.mean(), sample.mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(changed.std(), sample.std(), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(changed, sample, atol=1e-2)


def test_any_number_of_targets_is_mirrored_with_the_image() -> None:
    image = torch.randn(3, 1, 4, 5, 6)
    targets = torch.cat([image, 2 * image], dim=1)
    augmentation = IntensityAugmentation().scaled(0, mirror_axes=(0, 2))
    seen, mirrored = augment_batch(image, targets, augmentation, seed=3)
    assert not torch.equal(seen, image)
    assert torch.equal(mirrored, torch.cat([seen, 2 * seen], dim=1))
