from __future__ import annotations

import numpy as np
import pytest

from segsuite.volumes.cropping import bounding_box, centred_window, pad_to_size, union_box


def test_box_holds_the_mask_and_no_more() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[2:4, 5, 1:8] = True
    assert bounding_box(mask) == (slice(2, 4), slice(5, 6), slice(1, 8))
    assert bounding_box(mask, margin=2) == (slice(0, 6), slice(3, 8), slice(0, 9))


def test_box_of_nothing_is_everything() -> None:
    assert bounding_box(np.zeros((2, 3), dtype=bool)) == (slice(0, 2), slice(0, 3))


@pytest.mark.parametrize(("centre", "expected"), [(0, slice(0, 4)), (5, slice(3, 7)), (9, slice(6, 10))])
def test_window_stays_inside(centre: int, expected: slice) -> None:
    assert centred_window((centre,), (4,), (10,)) == (expected,)


def test_padding_puts_the_odd_voxel_last() -> None:
    padded = pad_to_size(np.ones((1, 2, 2)), (5, 2), value=0)
    assert padded[0, :, 0].tolist() == [0, 1, 1, 0, 0]
    same = np.ones((1, 2, 2))
    assert pad_to_size(same, (1, 1), value=0) is same


def test_union_of_boxes() -> None:
    first, second = (slice(2, 4), slice(0, 9), slice(5, 6)), (slice(3, 8), slice(1, 2), slice(0, 1))
    assert union_box(first, second) == (slice(2, 8), slice(0, 9), slice(0, 6))
    assert union_box(None, second) == second
    assert union_box(None, None) == (slice(0, 0),) * 3
