from __future__ import annotations

import numpy as np

from segsuite.volumes.cropping import bounding_box
from segsuite.volumes.labels import label_boxes, label_counts, labels_present

LABELS = np.random.default_rng(0).choice([0, 2, 5], size=(7, 6, 5), p=[0.9, 0.06, 0.04]).astype(np.uint8)


def test_counts_and_values_are_those_of_a_slow_count() -> None:
    assert label_counts(LABELS).tolist() == [int((n == LABELS).sum()) for n in range(6)]
    assert labels_present(LABELS) == [0, 2, 5]
    assert labels_present(LABELS[None]) == [0, 2, 5]


def test_boxes_are_those_of_each_mask() -> None:
    assert label_boxes(LABELS) == {n: bounding_box(n == LABELS) for n in (2, 5)}
    assert label_boxes(np.zeros((2, 2, 2), dtype=np.uint8)) == {}
