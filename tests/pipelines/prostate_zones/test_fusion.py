from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prostate_zones.fusion import disagreement, fuse_branches, shared_zones
from segsuite.errors import SettingsError

DUAL = [[1, 2, 3], [1, 2, 4]]
SINGLE = [[1, 2, 3, 4]]


def branch_probabilities(seed: int, sharpness: float) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [(sharpness * torch.randn(2, 4, 3, 4, 2, generator=draw)).softmax(1) for _ in range(2)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.1, 40))
def test_fused_probabilities_sum_to_one(seed: int, sharpness: float) -> None:
    """Invariant 21, also where the branches contradict each other."""
    fused = fuse_branches(branch_probabilities(seed, sharpness), DUAL)
    torch.testing.assert_close(fused.sum(1), torch.ones(2, 3, 4, 2), atol=1e-6, rtol=0)
    assert fused.min() >= 0


def test_fusion_is_the_formula_of_the_specification() -> None:
    """Section 4, written out: background is the mean of both estimates, before any clipping."""
    a, b = branch_probabilities(3, 1.0)
    background = 0.5 * ((a[:, 0] - b[:, 3]) + (b[:, 0] - a[:, 3]))
    expected = torch.stack([background, (a[:, 1] + b[:, 1]) / 2, (a[:, 2] + b[:, 2]) / 2, a[:, 3], b[:, 3]], dim=1)
    clipped = expected.clamp_min(0)
    torch.testing.assert_close(fuse_branches([a, b], DUAL), clipped / clipped.sum(1, keepdim=True))
    assert (background > 0).any()
    assert (background < 0).any()


def test_both_branches_that_claim_a_voxel_for_their_own_zone() -> None:
    """A says surely DPU, B says surely AFS: the background would be -1; the zones share the voxel."""
    a, b = torch.zeros(1, 4, 1, 1, 1), torch.zeros(1, 4, 1, 1, 1)
    a[:, 3] = b[:, 3] = 1
    assert fuse_branches([a, b], DUAL).flatten().tolist() == [0, 0, 0, 0.5, 0.5]


def test_order_of_branches_does_not_matter() -> None:
    """Invariant 22, and neither does the order of zones inside a branch."""
    a, b = branch_probabilities(1, 2.0)
    expected = fuse_branches([a, b], DUAL)
    torch.testing.assert_close(fuse_branches([b, a], DUAL[::-1]), expected)
    torch.testing.assert_close(fuse_branches([a[:, [0, 3, 1, 2]], b], [[3, 1, 2], DUAL[1]]), expected)


def test_one_branch_is_fused_to_itself() -> None:
    p = torch.randn(1, 5, 2, 2, 2).softmax(1)
    torch.testing.assert_close(fuse_branches([p], SINGLE), p)


def test_disagreement_is_half_the_sum_of_differences_of_shared_zones() -> None:
    a, b = branch_probabilities(5, 2.0)
    expected = 0.5 * ((a[:, 1] - b[:, 1]).abs() + (a[:, 2] - b[:, 2]).abs())
    torch.testing.assert_close(disagreement([a, b], DUAL)[:, 0], expected)
    assert disagreement([a, a], DUAL).abs().max() == 0


@pytest.mark.parametrize("branches", [[], [[]], [[1, 1, 2]], [[1, 3], [2, 4]]])
def test_branches_that_cannot_be(branches: list[list[int]]) -> None:
    with pytest.raises(SettingsError, match=r"Each branch must list its zones once|must share at least one zone"):
        shared_zones(branches)


def test_shared_zones_are_the_intersection() -> None:
    assert shared_zones(DUAL) == (1, 2)
    assert shared_zones(SINGLE) == (1, 2, 3, 4)
    assert shared_zones([[2, 5], [5, 1], [5]]) == (5,)
