from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from segsuite.data.transforms import Normalisation, Preprocessing, prepare_image
from segsuite.engines.doctor import all_orientations
from segsuite.engines.label_reduction import reduce_to_labels
from segsuite.engines.segmentation import RowSource, Segmentation, row_axis, segment_rows
from segsuite.shapes import row_order
from segsuite.volumes.grid import Grid
from segsuite.volumes.regions import Regions
from segsuite.volumes.volume import Volume

GRID = Grid((12, 10, 8), np.diag([-1.0, 1.0, 2.0, 1.0]))
VOLUME = Volume(np.random.default_rng(0).normal(size=(1, 12, 10, 8)).astype(np.float32), GRID)
PLAIN = Preprocessing(None, (Normalisation("percentile", low=0, high=100),))


def rows(image: np.ndarray, axis: int, columns: slice) -> Iterator[np.ndarray]:
    """Two classes by brightness, and the brightness itself."""
    for row in np.moveaxis(image[0], axis, 0)[:, columns]:
        yield np.stack([row <= 0.5, row > 0.5, row])[:, None].astype(np.float32)


def test_box_is_what_the_network_sees_and_the_rest_is_background() -> None:
    box = (slice(2, 9), slice(0, 10), slice(3, 8))
    found = segment_rows(VOLUME, PLAIN, RowSource(rows), class_labels=(0, 7), extra=("glow",), box=box, keep_probabilities=True)
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
    found = segment_rows(VOLUME, region, RowSource(rows), class_labels=(0, 1), extra=("glow",))
    used = np.argwhere(found.volumes["glow"] > 0)
    assert (used.min(axis=0) >= (3, 0, 2)).all()
    assert (used.max(axis=0) < (9, 10, 6)).all()


def test_without_region_all_is_seen() -> None:
    found = segment_rows(VOLUME, PLAIN, RowSource(rows), class_labels=(0, 1), extra=("glow",))
    assert found.labels.shape == GRID.shape
    assert found.probabilities is None


def test_the_mask_of_a_report_is_missed_at_once() -> None:
    with pytest.raises(RuntimeError, match="must have labels here"):
        _ = Segmentation(None).mask


def graded(image: np.ndarray, axis: int, columns: slice) -> Iterator[np.ndarray]:
    """Two classes whose odds are the brightness, which is given too."""
    for row in np.moveaxis(image[0], axis, 0)[:, columns]:
        yield np.stack([1 - row, row, row])[:, None].astype(np.float32)


@pytest.mark.parametrize("shape", [(12, 10, 8), (6, 20, 8), (6, 8, 20)])
@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5), (0.7, 3.1, 0.8)])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_axis_and_parts_do_not_matter(
    shape: tuple[int, int, int], spacing: tuple[float, float, float] | None, at_once: int
) -> None:
    """In any orientation: what is longest is worked through, in parts, and every voxel comes back to its place."""
    image = np.random.default_rng(1).random((1, *shape)).astype(np.float32)
    source = RowSource(
        graded,
        lambda shape, axis: [slice(at, at + at_once) for at in range(0, shape[row_order(axis)[1]], at_once)],
    )
    for matrix in all_orientations()[::7]:
        volume = Volume(image, Grid(shape, matrix @ np.diag([1.0, 1.2, 2.0, 1.0])))
        how = Preprocessing(spacing, PLAIN.normalisation)
        prepared, grid = prepare_image(volume, how)
        expected = reduce_to_labels(partial(graded, prepared, 0), grid, volume.grid, n_extra=1, keep_probabilities=True)
        found = segment_rows(volume, how, source, class_labels=(0, 1), extra=("glow",), keep_probabilities=True)
        np.testing.assert_allclose(found.volumes["glow"], expected.extra[0], atol=2e-3)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-3)
        near = np.abs(expected.extra[0].astype(float) - 0.5) < 2e-3  # even odds may fall either way
        assert np.array_equal(found.labels[~near], expected.labels[~near])


def test_voxels_are_given_up_when_memory_is_short() -> None:
    volume = Volume(VOLUME.array.copy(), GRID)
    kept = segment_rows(volume, PLAIN, RowSource(rows), class_labels=(0, 1), extra=("glow",))
    assert volume.array.size == VOLUME.array.size
    freed = segment_rows(volume, PLAIN, RowSource(rows), class_labels=(0, 1), extra=("glow",), release=True)
    assert volume.array.size == 0
    assert volume.grid == GRID
    assert np.array_equal(kept.labels, freed.labels)


def test_the_copy_in_another_order_is_given_up_early_and_the_volume_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored LAS: what is computed on is a copy that nobody else has."""
    freed = []
    monkeypatch.setattr(Volume, "release", lambda volume: freed.append(volume))
    segment_rows(VOLUME, PLAIN, RowSource(rows), class_labels=(0, 1), extra=("glow",))
    assert len(freed) == 1
    assert freed[0] is not VOLUME
    segment_rows(VOLUME, PLAIN, RowSource(rows), class_labels=(0, 1), extra=("glow",), release=True)
    assert freed[1] is VOLUME
    assert len(freed) == 3


def test_rows_come_along_the_longest_axis_where_it_pays() -> None:
    assert [row_axis(shape) for shape in ((5, 6, 5), (5, 7, 5), (5, 7, 9), (9, 5, 5))] == [0, 1, 2, 0]


def nested(image: np.ndarray, axis: int, columns: slice) -> Iterator[np.ndarray]:
    """A region by brightness and a brighter one within it."""
    for row in np.moveaxis(image[0], axis, 0)[:, columns]:
        yield np.stack([row > 0.5, row > 0.75])[:, None].astype(np.float32)


def test_regions_are_written_in_their_order_and_nothing_is_outside_the_box() -> None:
    regions = Regions({"whole": (4, 9), "the core": (9,)}, (4, 9))
    box = (slice(2, 9), slice(0, 10), slice(3, 8))
    found = segment_rows(VOLUME, PLAIN, RowSource(nested), class_labels=regions, box=box, keep_probabilities=True)
    part = VOLUME.array[0][box]
    bright = (part - part.min()) / np.ptp(part)
    expected = np.zeros(GRID.shape, dtype=int)
    expected[box] = np.where(bright > 0.75, 9, np.where(bright > 0.5, 4, 0))
    assert np.array_equal(found.labels, expected)
    assert found.channel_words == ("whole", "the-core")
    masks = dict(found.region_masks())
    assert np.array_equal(masks["whole"], expected > 0)
    assert np.array_equal(masks["the-core"], expected == 9)
    inside = np.zeros(GRID.shape, dtype=bool)
    inside[box] = True
    assert not found.probabilities[:, ~inside].any()
