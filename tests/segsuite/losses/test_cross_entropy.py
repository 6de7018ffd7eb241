from __future__ import annotations

import math

import pytest
import torch

from segsuite.losses.cross_entropy import binary_cross_entropy_loss, cross_entropy_loss


def test_smoothed_formula_worked_by_hand() -> None:
    """One voxel, p = (1/4, 3/4), class 1, epsilon 0.2: -(0.9 log 3/4 + 0.1 log 1/4)."""
    logits = torch.tensor([[[math.log(1.0)], [math.log(3.0)]]])
    loss = cross_entropy_loss(logits, torch.tensor([[1]]), label_smoothing=0.2)
    assert float(loss) == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)), rel=1e-5)


def test_mean_is_over_scored_voxels() -> None:
    logits = torch.randn(1, 2, 4)
    all_scored = cross_entropy_loss(logits[..., :2], torch.tensor([[0, 1]]), label_smoothing=0.0)
    half_scored = cross_entropy_loss(logits, torch.tensor([[0, 1, -1, -1]]), label_smoothing=0.0)
    torch.testing.assert_close(all_scored, half_scored)


def test_nothing_scored_costs_nothing() -> None:
    assert float(cross_entropy_loss(torch.randn(1, 2, 3), torch.full((1, 3), -1), label_smoothing=0.1)) == 0


def test_binary_is_the_mean_over_scored_voxels_and_channels() -> None:
    """By its definition, voxel after voxel: -[t log p + (1 - t) log(1 - p)], t smoothed towards one half."""
    logits, targets = [[0.3, -2.0, 5.0], [1.0, 0.0, 5.0]], [[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]]
    terms = []
    for row, wanted in zip(logits, targets, strict=True):
        for z, g in zip(row, wanted, strict=True):
            p, t = 1 / (1 + math.exp(-z)), 0.9 * g + 0.05
            terms += [] if g < 0 else [-(t * math.log(p) + (1 - t) * math.log(1 - p))]
    found = binary_cross_entropy_loss(
        torch.tensor(logits).reshape(1, 2, 1, 1, 3), torch.tensor(targets).reshape(1, 2, 1, 1, 3), label_smoothing=0.1
    )
    torch.testing.assert_close(found, torch.tensor(sum(terms) / len(terms)))


def test_binary_is_zero_where_nothing_is_scored() -> None:
    assert binary_cross_entropy_loss(torch.ones(1, 2, 3, 3), -torch.ones(1, 2, 3, 3), label_smoothing=0.0) == 0
