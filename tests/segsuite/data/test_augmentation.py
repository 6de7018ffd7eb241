from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from segsuite.data import augmentation
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


def test_blur_is_a_gaussian_of_each_sample_s_own_width() -> None:
    blurred = blur(IMAGE[:2], torch.tensor([0.8, 0.5]))
    for sample, sigma in ((0, 0.8), (1, 0.5)):
        expected = ndimage.gaussian_filter(IMAGE[sample, 0].numpy(), sigma, radius=4, mode="nearest")
        torch.testing.assert_close(blurred[sample, 0], torch.from_numpy(expected), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 0.61, 0.83, 1.0])
def test_low_resolution_is_torchs_nearest_down_and_linear_up(factor: float) -> None:
    found = reduce_resolution(IMAGE[:2], torch.tensor([0.7, factor]))[1]
    small = [round(n * factor) for n in IMAGE.shape[2:]]
    coarse = F.interpolate(IMAGE[1:2], size=small, mode="nearest-exact")
    expected = F.interpolate(coarse, size=list(IMAGE.shape[2:]), mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_keeps_order_mean_and_spread(invert: bool) -> None:
    sample = IMAGE[:1, :1]
    changed = change_gamma(sample, torch.tensor([1.4]), invert=invert)
    assert torch.equal(changed.flatten().argsort(), sample.flatten().argsort())
    torch.testing.assert_close(changed.mean(), sample.mean(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(changed.std(), sample.std(), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(changed, sample, atol=1e-2)


def test_samples_are_changed_as_often_as_the_probability_says() -> None:
    image = torch.randn(400, 1, 3, 3, 3)
    chance = replace(IntensityAugmentation().scaled(0, mirror_axes=()), brightness=0.3)
    changed, _ = augment_batch(image, torch.zeros(400, 3, 3, 3), chance, seed=0)
    factors = (changed / image).mean((1, 2, 3, 4))
    hit = (factors - 1).abs() > 1e-6
    assert 0.22 < hit.float().mean() < 0.38
    assert 0.75 <= factors[hit].min() < 0.8
    assert 1.2 < factors[hit].max() <= 1.25
    torch.testing.assert_close(changed[~hit], image[~hit])


def test_noise_is_as_strong_as_a_sample_is_varied() -> None:
    image = torch.randn(64, 1, 8, 8, 8) * torch.tensor([1.0, 100.0]).repeat(32).view(-1, 1, 1, 1, 1)
    only_noise = replace(IntensityAugmentation().scaled(0, mirror_axes=()), noise=1.0)
    changed, _ = augment_batch(image, torch.zeros(64, 8, 8, 8), only_noise, seed=0)
    shares = (changed - image).std((1, 2, 3, 4)) / image.std((1, 2, 3, 4))
    assert shares.min() > 0
    assert 0.25 < shares.max() < 0.1**0.5 * 1.1


def test_half_precision_of_the_step_does_not_reach_the_image() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = augment_batch(IMAGE, LABEL, IntensityAugmentation().scaled(10, mirror_axes=()), seed=0)
    outside, _ = augment_batch(IMAGE, LABEL, IntensityAugmentation().scaled(10, mirror_axes=()), seed=0)
    assert torch.equal(inside, outside)


def test_any_number_of_targets_is_mirrored_with_the_image() -> None:
    image = torch.randn(3, 1, 4, 5, 6)
    targets = torch.cat([image, 2 * image], dim=1)
    only_flips = IntensityAugmentation().scaled(0, mirror_axes=(0, 2))
    seen, mirrored = augment_batch(image, targets, only_flips, seed=3)
    assert not torch.equal(seen, image)
    assert torch.equal(mirrored, torch.cat([seen, 2 * seen], dim=1))


def test_samples_changed_together_are_those_changed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    often = replace(IntensityAugmentation().scaled(3, mirror_axes=(0, 1, 2)), noise=0.0)
    one_by_one = augment_batch(IMAGE, LABEL, often, seed=5)
    monkeypatch.setattr(augmentation, "_taken_together", lambda samples, _: [(samples, samples)] if samples else [])
    together = augment_batch(IMAGE, LABEL, often, seed=5)
    torch.testing.assert_close(one_by_one, together)
    assert not torch.equal(together[0], IMAGE)
