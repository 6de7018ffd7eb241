from __future__ import annotations

import pytest
import torch

from segsuite.losses.dice import binary_dice_loss, one_hot, soft_dice_loss


def slow_dice(logits: torch.Tensor, label: torch.Tensor, include_background: bool, over_batch: bool, smooth: float) -> float:
    """The formula, voxel by voxel."""
    probabilities = logits.softmax(1)
    groups = [range(len(label))] if over_batch else [[b] for b in range(len(label))]
    scores = []
    for group in groups:
        for c in range(0 if include_background else 1, logits.shape[1]):
            shared = total = 0.0
            for b in group:
                for index in torch.cartesian_prod(*(torch.arange(n) for n in label.shape[1:])):
                    at = tuple(int(i) for i in index)
                    if label[(b, *at)] == -1:
                        continue
                    p, g = float(probabilities[(b, c, *at)]), float(label[(b, *at)] == c)
                    shared, total = shared + p * g, total + p + g
            scores.append((2 * shared + smooth) / (total + smooth))
    return 1 - sum(scores) / len(scores)


@pytest.mark.parametrize("include_background", [True, False])
@pytest.mark.parametrize("over_batch", [True, False])
def test_equals_the_formula(include_background: bool, over_batch: bool) -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 3, 2, 4), torch.randint(-1, 3, (2, 3, 2, 4))
    loss = soft_dice_loss(logits, label, include_background=include_background, over_batch=over_batch, smooth=0.1)
    assert float(loss) == pytest.approx(slow_dice(logits, label, include_background, over_batch, 0.1), abs=1e-5)


def test_worked_by_hand() -> None:
    """Two voxels, two classes, p = 1/2 everywhere, one voxel of each class: Dice of each = 2 * 0.5 / (1 + 1) = 0.5."""
    loss = soft_dice_loss(torch.zeros(1, 2, 2), torch.tensor([[0, 1]]), include_background=True, over_batch=True, smooth=0.0)
    assert float(loss) == pytest.approx(0.5)


def test_class_absent_from_both_costs_nothing() -> None:
    logits = torch.tensor([[[40.0, 40], [-40, -40], [-40, -40]]])
    label = torch.zeros(1, 2, dtype=torch.long)
    assert float(soft_dice_loss(logits, label, include_background=False, over_batch=True)) == pytest.approx(0, abs=1e-6)


def test_one_hot_leaves_unscored_voxels_empty() -> None:
    assert one_hot(torch.tensor([[0, 2, -1]]), 3).tolist() == [[[1, 0, 0], [0, 0, 0], [0, 1, 0]]]


def test_binary_dice_counts_each_channel_by_itself() -> None:
    """Two voxels certain, one undecided: by hand 2 (1 + 0.5) / ((1 + 0 + 0.5) + 2) = 6/7; the other channel is right: 1."""
    logits = torch.tensor([[[[[40.0, -40.0, 0.0, 9.0]]], [[[40.0, 40.0, -40.0, -9.0]]]]]).squeeze(2)
    targets = torch.tensor([[[[[1.0, 0.0, 1.0, -1.0]]], [[[1.0, 1.0, 0.0, -1.0]]]]]).squeeze(2)
    expected = 1 - (6 / 7 + 1) / 2
    torch.testing.assert_close(binary_dice_loss(logits, targets, over_batch=True), torch.tensor(expected), atol=1e-5, rtol=0)


def test_binary_dice_over_the_batch_is_one_ratio_and_per_sample_the_mean_of_two() -> None:
    logits = torch.tensor([[[[[40.0, 40.0]]]], [[[[40.0, 40.0]]]]])
    targets = torch.tensor([[[[[1.0, 1.0]]]], [[[[0.0, 0.0]]]]])
    together = binary_dice_loss(logits, targets, over_batch=True)
    torch.testing.assert_close(together, torch.tensor(1 - 2 * 2 / (4 + 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(binary_dice_loss(logits, targets, over_batch=False), torch.tensor(0.5), atol=1e-5, rtol=0)
