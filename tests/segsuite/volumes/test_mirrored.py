from __future__ import annotations

import numpy as np
import pytest

from segsuite.volumes.mirrored import mirrored_labels, places_of_labels

SHAPE = (60, 40, 30)
SPACING = (2.0, 2.0, 3.0)


def body(balls: dict[int, tuple[tuple[int, int, int], int]], *, middle: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """A bright trunk with balls (centre, radius in voxels) as labels; right of the patient is at high i."""
    at = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    image = 100.0 * ((((at[0] - middle) / 24) ** 2 + ((at[1] - 20) / 16) ** 2) < 1)
    labels = np.zeros(SHAPE, np.uint8)
    for value, (centre, radius) in balls.items():
        labels[((at - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = value
    return image + np.random.default_rng(0).normal(0, 1, SHAPE), labels


KIDNEYS = {1: ((44, 14, 12), 4), 2: ((17, 13, 14), 4), 3: ((45, 24, 20), 9)}
"""Two kidneys, the right one lower, and a liver."""


def test_places_are_millimetres_from_the_middle_of_the_body() -> None:
    """The trunk lies 4 voxels to the right of the middle of the field."""
    image, labels = body({5: ((44, 14, 12), 4)}, middle=34)
    place = places_of_labels(image, labels, SPACING)[5]
    assert place.middle_mm == pytest.approx((20, 28, 36), abs=2.1)
    assert place.left_share == 0
    assert place.n_voxels == (labels == 5).sum()


def test_kidneys_without_names_are_a_pair() -> None:
    assert mirrored_labels([places_of_labels(*body(KIDNEYS), SPACING)]) == [(1, 2)]


@pytest.mark.parametrize(
    "balls",
    [
        {1: ((30, 20, 15), 9), 2: ((30, 20, 15), 4)},
        {1: ((44, 14, 12), 4), 2: ((44, 26, 12), 4)},
        {1: ((44, 14, 12), 8), 2: ((16, 14, 12), 3)},
        {1: ((44, 14, 6), 4), 2: ((16, 26, 26), 4)},
        {1: ((30, 11, 15), 6), 2: ((31, 28, 15), 6)},
        {},
    ],
    ids=["core and shell", "both on one side", "liver and spleen", "another place", "front and back", "nothing"],
)
def test_other_labels_are_no_pair(balls: dict[int, tuple[tuple[int, int, int], int]]) -> None:
    image, labels = body(balls)
    assert mirrored_labels([places_of_labels(image, labels, SPACING)]) == []


def test_most_of_the_cases_decide_and_one_organ_has_one_partner() -> None:
    pair, apart = (places_of_labels(*body(balls), SPACING) for balls in (KIDNEYS, {**KIDNEYS, 2: ((40, 30, 25), 4)}))
    without = {1: pair[1]}
    assert mirrored_labels([pair, pair, apart, without, without]) == [(1, 2)]
    assert mirrored_labels([pair, apart]) == []
    other = places_of_labels(*body({**KIDNEYS, 4: ((16, 24, 22), 5)}), SPACING)
    assert mirrored_labels([other]) == [(1, 2)]
