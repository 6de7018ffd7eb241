from __future__ import annotations

import torch

from pipelines.supervised.losses import supervised_loss, supervised_regions_loss
from segsuite.losses.cross_entropy import binary_cross_entropy_loss, cross_entropy_loss
from segsuite.losses.dice import binary_dice_loss, soft_dice_loss


def test_is_dice_plus_cross_entropy_at_each_resolution() -> None:
    torch.manual_seed(0)
    levels = [torch.randn(2, 3, 8, 8, 8), torch.randn(2, 3, 4, 4, 4)]
    label = torch.randint(-1, 3, (2, 8, 8, 8))
    coarse = label[:, 1::2, 1::2, 1::2]
    expected = torch.tensor(0.0)
    for weight, logits, reference in zip((2 / 3, 1 / 3), levels, (label, coarse), strict=True):
        dice = soft_dice_loss(logits, reference, include_background=False, over_batch=True)
        expected = expected + weight * (dice + cross_entropy_loss(logits, reference, label_smoothing=0.1))
    torch.testing.assert_close(supervised_loss(levels, label, label_smoothing=0.1), expected)


def test_of_regions_is_dice_plus_binary_cross_entropy_at_each_resolution() -> None:
    """Targets drawn here: the whole is everything but background, the core is class 2."""
    torch.manual_seed(0)
    levels = [torch.randn(2, 2, 8, 8, 8), torch.randn(2, 2, 4, 4, 4)]
    label = torch.randint(-1, 3, (2, 8, 8, 8))
    membership = torch.tensor([[False, True, True], [False, False, True]])
    expected = torch.tensor(0.0)
    for weight, logits, reference in zip((2 / 3, 1 / 3), levels, (label, label[:, 1::2, 1::2, 1::2]), strict=True):
        targets = torch.stack([reference > 0, reference == 2], dim=1).float()
        targets[(reference == -1)[:, None].expand_as(targets)] = -1
        dice = binary_dice_loss(logits, targets, over_batch=True)
        expected = expected + weight * (dice + binary_cross_entropy_loss(logits, targets, label_smoothing=0.1))
    found = supervised_regions_loss(levels, label, membership=membership, label_smoothing=0.1)
    torch.testing.assert_close(found, expected)
