from __future__ import annotations

import torch

from pipelines.supervised.losses import supervised_loss
from segsuite.losses.cross_entropy import cross_entropy_loss
from segsuite.losses.dice import soft_dice_loss


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
