from __future__ import annotations

import math

import numpy as np
import pytest

from segsuite.errors import GridError
from segsuite.metrics.topology import Topology, cl_dice_score, topology_of, topology_score
from segsuite.shapes import Mask


def ball(radius: int) -> Mask:
    return (np.indices((2 * radius + 3,) * 3) - radius - 1.0).__pow__(2).sum(axis=0) <= radius**2


def ring() -> Mask:
    mask = np.zeros((9, 9, 3), dtype=bool)
    mask[1:8, 1:8] = True
    mask[3:6, 3:6] = False
    return mask


def tube(length: int = 30) -> Mask:
    mask = np.zeros((9, 9, length), dtype=bool)
    mask[3:6, 3:6, 2 : length - 2] = True
    return mask


def two_balls() -> Mask:
    return np.concatenate([ball(3), ball(3)], axis=0)


def hollow() -> Mask:
    mask = ball(5)
    mask[6, 6, 6] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (ball(4), Topology(1, 0, 0)),
        (two_balls(), Topology(2, 0, 0)),
        (ring(), Topology(1, 1, 0)),
        (hollow(), Topology(1, 0, 1)),
        (np.zeros((4, 4, 4), dtype=bool), Topology(0, 0, 0)),
        (np.ones((3, 3, 3), dtype=bool), Topology(1, 0, 0)),
    ],
    ids=["ball", "two balls", "ring", "hollow ball", "empty", "touching every border"],
)
def test_known_shapes(mask: Mask, expected: Topology) -> None:
    assert topology_of(mask) == expected


def test_score_is_all_or_nothing_and_a_miss_is_nothing() -> None:
    pieces, one, none = topology_of(two_balls()), topology_of(ball(3)), topology_of(ball(3) & False)
    assert topology_score(one, one) == 1
    assert topology_score(pieces, one) == 0
    assert topology_score(none, one) == 0
    assert math.isnan(topology_score(none, none))


class TestClDice:
    def test_same_tube_is_perfect(self) -> None:
        assert cl_dice_score(tube(), tube()) == 1

    def test_half_of_a_tube_worked_by_hand(self) -> None:
        """The half's skeleton lies in the whole one (precision 1); about half of the whole one's lies in the half."""
        half = tube()
        half[:, :, 15:] = False
        assert cl_dice_score(half, tube()) == pytest.approx(2 * 0.5 / 1.5, abs=0.05)

    def test_thickness_does_not_matter_as_it_does_to_dice(self) -> None:
        thin = np.zeros_like(tube())
        thin[4, 4, 2:28] = True
        assert cl_dice_score(thin, tube()) > 0.95
        assert 2 * (thin & tube()).sum() / (thin.sum() + tube().sum()) < 0.25

    def test_symmetric(self) -> None:
        moved = np.roll(tube(), 1, axis=0)
        assert cl_dice_score(moved, tube()) == pytest.approx(cl_dice_score(tube(), moved))

    def test_empty_masks(self) -> None:
        assert cl_dice_score(tube() & False, tube()) == 0
        assert cl_dice_score(tube(), tube() & False) == 0
        assert math.isnan(cl_dice_score(tube() & False, tube() & False))

    def test_other_shape_is_refused(self) -> None:
        with pytest.raises(GridError, match="shape"):
            cl_dice_score(tube(20), tube(30))
