from __future__ import annotations

import numpy as np

from segsuite.volumes.components import keep_largest_component, keep_largest_component_per_label


def test_largest_stays_and_diagonal_neighbours_are_one() -> None:
    mask = np.zeros((7, 7, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True  # one component across corners
    mask[6, 6, 0:2] = True
    kept = keep_largest_component(mask)
    assert kept.sum() == 3
    assert not kept[6].any()


def test_empty_stays_empty_and_twice_is_once() -> None:
    empty = np.zeros((3, 3, 3), dtype=bool)
    assert not keep_largest_component(empty).any()
    noisy = np.random.default_rng(0).random((12, 12, 12)) > 0.8
    once = keep_largest_component(noisy)
    assert np.array_equal(keep_largest_component(once), once)


def test_only_the_given_labels_are_reduced() -> None:
    labels = np.array([[[1, 0, 1, 1, 0, 2, 0, 2, 2]]], dtype=np.uint8)
    reduced = keep_largest_component_per_label(labels, which=(1,))
    assert reduced.tolist() == [[[0, 0, 1, 1, 0, 2, 0, 2, 2]]]
