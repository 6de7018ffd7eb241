from __future__ import annotations

import numpy as np
import pytest

from segsuite.errors import GridError
from segsuite.metrics.overlap import (
    dice_score,
    iou_score,
    precision_score,
    sensitivity_score,
    volume_difference_ml,
    volume_difference_percent,
    volume_ml,
)

#   predicted  X X .      reference  . X X
PREDICTED, REFERENCE = np.array([[[True, True, False]]]), np.array([[[False, True, True]]])


def test_worked_by_hand() -> None:
    assert dice_score(PREDICTED, REFERENCE) == pytest.approx(2 * 1 / 4)
    assert iou_score(PREDICTED, REFERENCE) == pytest.approx(1 / 3)
    assert sensitivity_score(PREDICTED, REFERENCE | True) == pytest.approx(2 / 3)
    assert precision_score(PREDICTED | True, REFERENCE) == pytest.approx(2 / 3)
    assert volume_difference_percent(PREDICTED | True, REFERENCE) == pytest.approx(50)
    assert volume_difference_percent(PREDICTED, REFERENCE & False) == 100


def test_iou_and_dice_tell_the_same() -> None:
    draw = np.random.default_rng(0)
    for _ in range(10):
        a, b = draw.random((2, 5, 5, 5)) > 0.6
        dice = dice_score(a, b)
        assert iou_score(a, b) == pytest.approx(dice / (2 - dice))


def test_volumes_are_ml() -> None:
    assert volume_ml(PREDICTED, voxel_ml=0.003) == pytest.approx(0.006)
    assert volume_difference_ml(PREDICTED | True, REFERENCE, voxel_ml=0.003) == pytest.approx(0.003)


def test_shapes_must_agree() -> None:
    with pytest.raises(GridError, match=r"got shapes \(1, 1, 3\) and \(1, 1, 2\)"):
        dice_score(PREDICTED, REFERENCE[..., :2])
