from __future__ import annotations

import pytest
import torch

from segsuite.losses.deep_supervision import deep_supervision_loss, deep_supervision_weights, reduce_label


def test_weights_halve_and_sum_to_one() -> None:
    assert deep_supervision_weights(3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_loss_is_the_weighted_sum() -> None:
    levels = [torch.full((1, 2, 4), 1.0), torch.full((1, 2, 2), 10.0)]
    loss = deep_supervision_loss(
        levels, torch.zeros(1, 4, dtype=torch.long), lambda logits, label: logits.mean() + label.shape[1]
    )
    assert float(loss) == pytest.approx(2 / 3 * (1 + 4) + 1 / 3 * (10 + 2))


def test_coarse_label_is_one_of_the_fine_ones() -> None:
    label = torch.randint(-1, 4, (2, 8, 6, 4))
    coarse = reduce_label(label, (4, 3, 2))
    assert coarse.shape == (2, 4, 3, 2)
    assert torch.equal(coarse, label[:, 1::2, 1::2, 1::2])
