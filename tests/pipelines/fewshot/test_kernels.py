from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipelines.fewshot.kernels import (
    SAMPLE,
    Kernel,
    SupportStatistics,
    best_threshold,
    collect_statistics,
    expected_dice,
    from_tensors,
    prototype,
    unit_vector,
)
from pipelines.fewshot.rules import discriminant_kernel
from segsuite.errors import ModelError, VolumeError

C = 6


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=0, keepdims=True)


def volume(seed: int, shape: tuple[int, int, int] = (6, 5, 4)) -> tuple[np.ndarray, np.ndarray]:
    """Features whose direction depends on the structure, and the structure."""
    draw = np.random.default_rng(seed)
    inside = np.zeros(shape, dtype=bool)
    inside[2:4, 1:4, 1:3] = True
    features = draw.normal(size=(C, *shape)) * 0.3
    features[0] += np.where(inside, 1.0, -1.0)
    features[1] += 0.5
    return unit(features).astype(np.float32), inside


def background(features: np.ndarray, at: slice) -> np.ndarray:
    return np.zeros(features.shape[1:], dtype=int)


def statistics(seed: int, digest: str | None = None, rows: int = 6) -> SupportStatistics:
    features, inside = volume(seed)
    parts = (features[:, start : start + rows] for start in range(0, 6, rows))
    return collect_statistics(parts, inside, background, n_base=1, digest=digest or f"{seed:064x}", where="x")


def test_sums_are_those_of_all_voxels() -> None:
    features, inside = volume(0)
    found = statistics(0)
    vectors = features[:, inside].T.astype(np.float64)
    assert found.counts.tolist() == [inside.sum(), (~inside).sum()]
    np.testing.assert_allclose(found.sums[0], vectors.sum(0), rtol=1e-5)
    np.testing.assert_allclose(found.outers[0], sum(np.outer(v, v) for v in vectors), rtol=1e-5)
    assert len(found.inside) == inside.sum()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_how_the_rows_come_does_not_matter(rows: int) -> None:
    whole, parts = statistics(1), statistics(1, rows=rows)
    np.testing.assert_allclose(whole.sums, parts.sums, rtol=1e-12)
    np.testing.assert_allclose(whole.outers, parts.outers, rtol=1e-12)


def test_length_of_features_does_not_matter() -> None:
    """I7."""
    features, inside = volume(2)
    long = collect_statistics(iter([3 * features]), inside, background, n_base=1, digest="a" * 64, where="x")
    np.testing.assert_allclose(long.sums, statistics(2).sums, rtol=1e-5)


def test_what_the_base_model_calls_its_own_is_no_background() -> None:
    """Voxels of base classes and unknown ones teach nothing outside; what they look like is kept by class."""
    features, inside = volume(4)
    names = np.zeros(inside.shape, dtype=int)
    names[0], names[1], names[5] = 1, -1, 2
    found = collect_statistics(iter([features]), inside, lambda part, at: names[at], n_base=2, digest="a" * 64, where="x")
    assert found.counts[1] == ((names == 0) & ~inside).sum()
    for place in range(3):
        expected = features[:, (names == place) & ~inside].sum(axis=1)
        np.testing.assert_allclose(found.base_sums[place], expected, rtol=1e-4)


def test_kernel_of_several_prototypes_takes_the_nearest() -> None:
    kernel = Kernel(np.array([[1.0, 0.0], [0.0, 2.0]]), 0.5, 1.0)
    assert kernel.score(np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.1]])).tolist() == [1.0, 2.0, 0.6]
    assert unit_vector(np.array([3.0, 4.0])).tolist() == [0.6, 0.8]
    assert unit_vector(np.zeros(2)).tolist() == [0, 0]


def test_sample_is_limited_and_reproducible() -> None:
    draw = np.random.default_rng(0)
    features = unit(draw.normal(size=(C, 40, 30, 10))).astype(np.float32)
    inside = np.zeros((40, 30, 10), dtype=bool)
    inside[:10] = True
    first, again = (
        collect_statistics(iter(np.array_split(features, 4, axis=1)), inside, background, n_base=1, digest="b" * 64, where="x")
        for _ in range(2)
    )
    assert len(first.outside) == SAMPLE
    assert np.array_equal(first.outside, again.outside)
    assert abs(float(first.outside.astype(float).mean() - features[:, ~inside].mean())) < 0.01


@pytest.mark.parametrize("mask", [np.zeros((6, 5, 4), dtype=bool), np.ones((6, 5, 4), dtype=bool)], ids=["empty", "full"])
def test_empty_and_full_masks_are_named(mask: np.ndarray) -> None:
    """I9."""
    with pytest.raises(VolumeError, match="kidney, shot 2, m.nii.gz: the support must have voxels.*of shape \\(6, 5, 4\\)"):
        collect_statistics(iter([volume(0)[0]]), mask, background, n_base=1, digest="c" * 64, where="kidney, shot 2, m.nii.gz")


def test_features_that_are_no_numbers_are_an_error() -> None:
    """I9."""
    features, inside = volume(0)
    features[0, 0, 0, 0] = np.nan
    with pytest.raises(VolumeError, match="must be finite"):
        collect_statistics(iter([features]), inside, background, n_base=1, digest="d" * 64, where="x")


def test_one_voxel_is_enough() -> None:
    """I9."""
    features, inside = volume(0)
    inside[:] = False
    inside[2, 2, 2] = True
    found = collect_statistics(iter([features]), inside, background, n_base=1, digest="e" * 64, where="x")
    assert found.counts[0] == 1
    np.testing.assert_allclose(prototype([found]), features[:, 2, 2, 2], atol=1e-6)
    assert np.isfinite(discriminant_kernel([found]).weights).all()


def test_order_of_shots_does_not_matter() -> None:
    """I4, bit by bit."""
    shots = [statistics(seed) for seed in range(4)]
    kernels = [discriminant_kernel(order) for order in itertools.permutations(shots)]
    assert all(np.array_equal(kernels[0].weights, kernel.weights) for kernel in kernels)
    assert all(np.array_equal(prototype(shots), prototype(order)) for order in itertools.permutations(shots))


def test_copies_of_one_shot_count_once_per_vote() -> None:
    """I6: a mean of equal votes is the vote; per voxel a large support weighs more."""
    one = statistics(0)
    copies = [statistics(0, digest=f"{n:064x}") for n in range(3)]
    np.testing.assert_allclose(prototype(copies), prototype([one]), rtol=1e-12)
    big = SupportStatistics(one.counts * 50, one.sums * 50, one.outers * 50, one.base_sums, one.inside, one.outside, "f" * 64)
    other = statistics(7)
    np.testing.assert_allclose(prototype([big, other]), prototype([one, other]), rtol=1e-12)
    assert not np.allclose(prototype([big, other], per_support=False), prototype([one, other], per_support=False))


def test_threshold_is_the_best_of_all() -> None:
    shots = [statistics(seed) for seed in range(3)]
    kernel = discriminant_kernel(shots)
    best = expected_dice(kernel, shots)
    for shift in np.linspace(-0.5, 0.5, 41):
        moved = Kernel(kernel.weights, kernel.threshold + shift * abs(kernel.threshold), kernel.gain)
        assert expected_dice(moved, shots) <= best + 1e-12
    middle = discriminant_kernel(shots, calibrate=False)
    assert expected_dice(middle, shots) <= best
    assert kernel.score(shots[0].inside).mean() > kernel.threshold > kernel.score(shots[0].outside).mean()


def test_expected_dice_by_hand() -> None:
    """Two inside, two outside voxels in one dimension; the threshold lets one outside in: 2*2 / (3 + 2)."""
    inside = np.array([[3.0], [2.0]], dtype=np.float16)
    outside = np.array([[2.5], [0.0]], dtype=np.float16)
    support = SupportStatistics(
        np.array([2.0, 2.0]), np.zeros((2, 1)), np.zeros((2, 1, 1)), np.zeros((1, 1)), inside, outside, "a" * 64
    )
    rule = Kernel(np.array([[1.0]]), 1.0, 1.0)
    assert expected_dice(rule, [support]) == pytest.approx(0.8)
    assert best_threshold(np.array([[1.0]]), [support]) == pytest.approx(1.0)


def test_supports_of_two_models_do_not_mix() -> None:
    other = SupportStatistics(
        np.ones(2), np.ones((2, 4)), np.ones((2, 4, 4)), np.ones((1, 4)), np.ones((1, 4)), np.ones((1, 4)), "a" * 64
    )
    with pytest.raises(ModelError, match=r"features of one size, got \[4, 6\]"):
        discriminant_kernel([statistics(0), other])


def test_round_trip() -> None:
    one = statistics(0)
    again = from_tensors(one.tensors(), one.digest)
    assert all(np.array_equal(a, b) for a, b in zip(one.tensors().values(), again.tensors().values(), strict=True))
