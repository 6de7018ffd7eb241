from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.segmentation import Segmentation, segment_rows
from segsuite.volumes.grid import Grid
from segsuite.volumes.volume import Volume

GRID = Grid((12, 10, 8), np.diag([-1.0, 1.0, 2.0, 1.0]))
VOLUME = Volume(np.random.default_rng(0).normal(size=(1, 12, 10, 8)).astype(np.float32), GRID)
PLAIN = Preprocessing(None, (Normalisation("percentile", low=0, high=100),))


def rows(image: np.ndarray) -> Iterator[np.ndarray]:
    """Two classes by brightness, and the brightness itself."""
    for row in image[0]:
        yield np.stack([row <= 0.5, row > 0.5, row])[:, None].astype(np.float32)


def test_box_is_what_the_network_sees_and_the_rest_is_background() -> None:
    box = (slice(2, 9), slice(0, 10), slice(3, 8))
    found = segment_rows(VOLUME, PLAIN, rows, class_labels=(0, 7), extra=("glow",), box=box, keep_probabilities=True)
    part = VOLUME.array[0][box]
    expected = (part - part.min()) / np.ptp(part)
    inside = np.zeros(GRID.shape, dtype=bool)
    inside[box] = True
    assert np.array_equal(found.labels[box], 7 * (expected > 0.5))
    assert not found.labels[~inside].any()
    np.testing.assert_allclose(found.volumes["glow"][box], expected, atol=1e-3)
    assert not found.volumes["glow"][~inside].any()
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, atol=1e-3)
    assert (found.probabilities[0][~inside] == 1).all()


def test_region_of_the_preprocessing_is_the_default_box() -> None:
    region = Preprocessing(None, PLAIN.normalisation, (6.0, None, 8.0))
    found = segment_rows(VOLUME, region, rows, class_labels=(0, 1), extra=("glow",))
    used = np.argwhere(found.volumes["glow"] > 0)
    assert (used.min(axis=0) >= (3, 0, 2)).all()
    assert (used.max(axis=0) < (9, 10, 6)).all()


def test_without_region_all_is_seen() -> None:
    found = segment_rows(VOLUME, PLAIN, rows, class_labels=(0, 1), extra=("glow",))
    assert found.labels.shape == GRID.shape
    assert found.probabilities is None


def test_the_mask_of_a_report_is_missed_at_once() -> None:
    with pytest.raises(RuntimeError, match="must have labels here"):
        _ = Segmentation(None).mask
