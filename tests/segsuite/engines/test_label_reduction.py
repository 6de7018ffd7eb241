from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from segsuite.engines.doctor import all_orientations
from segsuite.engines.label_reduction import reduce_to_labels
from segsuite.volumes.grid import Grid, network_grid, resample

TILT = np.array([[1, 0, 0, 3], [0, 0.96, -0.28, 5], [0, 0.28, 0.96, -8], [0, 0, 0, 1]])


def in_parts(probabilities: np.ndarray, size: int) -> Callable[[slice], Iterator[np.ndarray]]:
    def rows(columns: slice) -> Iterator[np.ndarray]:
        for start in range(0, probabilities.shape[1], size):
            yield probabilities[:, start : start + size, columns]

    return rows


def smooth_probabilities(shape: tuple[int, ...]) -> np.ndarray:
    logits = np.random.default_rng(0).normal(size=(4, *shape)) * 3
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("spacing", [None, (0.9, 1.4, 2.0), (2.2, 0.6, 5.0)], ids=["same", "mixed", "coarse and fine"])
@pytest.mark.parametrize("orientation", all_orientations()[::5], ids=lambda m: Grid((2, 2, 2), m).orientation)
def test_equals_resampling_all_classes_at_once(orientation: np.ndarray, spacing: tuple[float, ...] | None) -> None:
    native = Grid((13, 11, 9), TILT @ orientation @ np.diag([1.0, 1.2, 2.5, 1.0]))
    network = network_grid(native, spacing_mm=spacing)
    probabilities = smooth_probabilities(network.shape)
    everything = resample(probabilities, network, native, interpolation="linear")
    reduced = reduce_to_labels(in_parts(probabilities, 3), network, native, keep_probabilities=True)
    labels, kept = reduced.labels, reduced.probabilities
    np.testing.assert_allclose(kept, everything, atol=1e-3)
    clear = np.sort(everything, axis=0)[-1] - np.sort(everything, axis=0)[-2] > 1e-5
    assert np.array_equal(labels[clear], everything.argmax(axis=0)[clear])
    assert labels.dtype == np.uint8


def test_size_of_the_parts_does_not_matter() -> None:
    native = Grid((13, 11, 9), np.diag([1.0, 1.0, 1.0, 1.0]))
    network = network_grid(native, spacing_mm=(1.7, 0.8, 1.0))
    probabilities = smooth_probabilities(network.shape)
    results = [reduce_to_labels(in_parts(probabilities, size), network, native).labels for size in (1, 4, 100)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_extra_outputs_ride_along_and_decide_nothing() -> None:
    native = Grid((13, 11, 9), np.diag([-1.0, 1.0, 1.0, 1.0]))
    network = network_grid(native, spacing_mm=(1.7, 0.8, 1.0))
    probabilities = smooth_probabilities(network.shape)
    loud = 5 * np.ones_like(probabilities[:1]) * np.linspace(0, 1, network.shape[1])[None, None, :, None]
    rows = in_parts(np.concatenate([probabilities, loud]).astype(np.float32), 3)
    reduced = reduce_to_labels(rows, network, native, keep_probabilities=True, n_extra=1)
    plain = reduce_to_labels(in_parts(probabilities, 3), network, native, keep_probabilities=True)
    assert np.array_equal(reduced.labels, plain.labels)
    assert np.array_equal(reduced.probabilities, plain.probabilities)
    expected = resample(loud.astype(np.float32), network, native, interpolation="linear")
    np.testing.assert_allclose(reduced.extra, expected, atol=5e-3)


def test_missing_rows_are_an_error() -> None:
    grid = Grid((6, 4, 4), np.eye(4))
    with pytest.raises(ValueError, match="All rows of the volume must come, got 2 of 6 rows"):
        reduce_to_labels(in_parts(smooth_probabilities((2, 4, 4)), 2), grid, grid)


@pytest.mark.parametrize("n_regions", [3, 12])
@pytest.mark.parametrize("spacing", [None, (0.9, 1.4, 2.0)])
def test_regions_decide_one_by_one_after_interpolation(n_regions: int, spacing: tuple[float, ...] | None) -> None:
    native = Grid((13, 11, 9), np.diag([-1.0, 1.2, 2.5, 1.0]))
    network = network_grid(native, spacing_mm=spacing)
    probabilities = np.random.default_rng(1).random((n_regions, *network.shape)).astype(np.float32)
    everything = resample(probabilities, network, native, interpolation="linear")
    reduced = reduce_to_labels(in_parts(probabilities, 3), network, native, keep_probabilities=True, regions=True)
    np.testing.assert_allclose(reduced.probabilities, everything, atol=1e-3)
    clear = abs(everything - 0.5) > 1e-5
    for place in range(n_regions):
        inside = reduced.labels.astype(int) // 2**place % 2 == 1
        assert np.array_equal(inside[clear[place]], everything[place][clear[place]] >= 0.5)
    assert reduced.labels.itemsize == (1 if n_regions <= 8 else 2)
