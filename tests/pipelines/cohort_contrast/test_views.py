from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipelines.cohort_contrast.views import Views, aug_audit, mixed_with_healthy, random_views, warped

STILL = Views(0, 0, 0, gain=0, offset=0, gamma=0, bias=0, noise=0, blur=0)


def images(*shape: int) -> torch.Tensor:
    return torch.rand(3, 1, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(12, 10), (8, 9, 10)])
def test_views_keep_the_shape_and_are_a_function_of_the_seed(shape: tuple[int, ...]) -> None:
    image = images(*shape)
    views = Views(cutout=0.5, flip=(0,))
    one, same, other = (random_views(image, views, seed=seed) for seed in (1, 1, 2))
    assert one.shape == image.shape
    torch.testing.assert_close(one, same)
    assert (one - other).abs().max() > 0.01
    torch.testing.assert_close(random_views(image, STILL, seed=1), image)


def test_shifts_mirrors_and_turns_are_what_they_say() -> None:
    image = images(8, 8)
    identity = torch.eye(2, 3).repeat(3, 1, 1)
    torch.testing.assert_close(warped(image, identity), image, atol=1e-5, rtol=1e-5)
    shift = identity.clone()
    shift[:, 0, 2] = 2 / 8  # one voxel along the last axis
    torch.testing.assert_close(warped(image, shift)[..., :-1], image[..., 1:], atol=1e-5, rtol=1e-5)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0]]).repeat(3, 1, 1)
    torch.testing.assert_close(warped(image, quarter), image.rot90(1, (2, 3)), atol=1e-5, rtol=1e-5)
    flipped = [random_views(image, replace(STILL, flip=(0,)), seed=seed) for seed in range(6)]
    rows = torch.cat([view[i] for view in flipped for i in range(3)])
    kept = [any(torch.allclose(row, wanted, atol=1e-5) for wanted in (*image[:, 0], *image.flip(2)[:, 0])) for row in rows]
    assert all(kept)


def test_intensity_changes_stay_within_their_ranges() -> None:
    image = images(6, 6, 6)
    louder = random_views(image, replace(STILL, gain=0.2), seed=3) / image
    assert louder.flatten(1).std(1).max() < 1e-5
    assert ((louder > 0.79) & (louder < 1.21)).all()
    moved = random_views(image, replace(STILL, offset=0.1), seed=3) - image
    assert moved.abs().max() <= 0.1
    hidden = random_views(image, replace(STILL, cutout=1.0), seed=3)
    assert ((hidden != image).flatten(1).float().mean(1) < 0.02).all()


def test_mixing_takes_healthy_partners_only() -> None:
    image = torch.zeros(4, 1, 2, 2)
    image[:2], image[2:] = 1.0, 5.0
    mixed = mixed_with_healthy(image, torch.tensor([False, False, True, True]), largest=0.5, seed=0)
    torch.testing.assert_close(mixed[:2], image[:2])
    assert ((mixed[2:] >= 3) & (mixed[2:] <= 5)).all()
    assert mixed_with_healthy(image, torch.ones(4, dtype=torch.bool), largest=0.5, seed=0) is image


def test_the_audit_of_views_counts_what_is_left_of_a_lesion() -> None:
    lesion = torch.zeros(2, 1, 16, 16, 16)
    lesion[:, :, 7:9, 7:9, 7:9] = 1
    assert aug_audit(lesion, STILL, seed=0, repeats=2) == pytest.approx(1.0)
    assert aug_audit(lesion, Views(), seed=0, repeats=8) > 0.8
    corner = torch.zeros(2, 1, 16, 16, 16)
    corner[:, :, :2, :2, :2] = 1
    assert aug_audit(corner, replace(STILL, shift=0.45), seed=0, repeats=20) < 0.9
