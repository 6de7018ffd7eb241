"""Each rule against a second way to get its kernel, or against what it must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.fewshot.kernels import SupportStatistics, expected_dice, prototype, unit_vector
from pipelines.fewshot.rules import (
    RULES,
    BaseKernels,
    Rule,
    blended_base,
    discriminant_kernel,
    finetuned_kernel,
    logistic_kernel,
    make_kernel,
    prototype_kernel,
)
from pipelines.fewshot.update import KernelUpdate
from segsuite.errors import SettingsError
from tests.pipelines.fewshot.test_kernels import C, statistics, unit, volume

BACKGROUND = unit(np.array([-1.0, 0.3, 0, 0, 0, 0]))
BASE = BaseKernels(np.stack([BACKGROUND, np.eye(C)[1], np.eye(C)[2]]), update=lambda direction: direction)


def test_discriminant_is_fishers() -> None:
    """Against covariances of the vectors themselves, and scikit-learn's shrunken discriminant for the direction."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features, inside = volume(3)
    pos, neg = features[:, inside].T.astype(float), features[:, ~inside].T.astype(float)
    pooled = (np.cov(pos.T, bias=True) + np.cov(neg.T, bias=True)) / 2
    expected = np.linalg.solve(pooled + 0.02 * np.trace(pooled) / C * np.eye(C), pos.mean(0) - neg.mean(0))
    kernel = discriminant_kernel([statistics(3)])
    np.testing.assert_allclose(kernel.weights[0], expected, rtol=1e-6)
    peer = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5])
    peer.fit(np.concatenate([pos, neg]), [1] * len(pos) + [0] * len(neg))
    cosine = abs(kernel.weights[0] @ peer.coef_[0]) / np.linalg.norm(kernel.weights[0]) / np.linalg.norm(peer.coef_[0])
    assert cosine > 0.95


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("calibrate", [True, False])
def test_every_rule_finds_the_structure_and_is_reproducible(rule: str, calibrate: bool) -> None:
    shots = [statistics(seed) for seed in range(3)]
    kernel = make_kernel(shots, Rule(rule, calibrate=calibrate), BASE)
    again = make_kernel(shots[::-1], Rule(rule, calibrate=calibrate), BASE)
    assert np.array_equal(kernel.weights, again.weights)
    assert kernel.threshold == again.threshold
    assert expected_dice(kernel, [statistics(9)]) > 0.8


def test_imprinting_is_the_difference_of_two_cosines() -> None:
    """s times (cosine to the prototype minus cosine to background's kernel), as an argmax over both would compare."""
    shots = [statistics(seed) for seed in range(2)]
    kernel = prototype_kernel(shots, BACKGROUND)
    features = volume(5)[0].reshape(C, -1).T
    new, background = 10 * features @ prototype(shots), 10 * features @ BACKGROUND
    np.testing.assert_allclose(kernel.gain * (kernel.score(features) - kernel.threshold), new - background, atol=1e-5)


def test_gate_that_has_learned_nothing_is_imprinting() -> None:
    torch.manual_seed(0)
    gate = KernelUpdate(C)

    def update(direction: np.ndarray) -> np.ndarray:
        same = torch.from_numpy(direction).float()[None]
        return gate(same, same)[0].detach().double().numpy()

    gated, plain = (prototype_kernel([statistics(0)], BACKGROUND, update=way) for way in (update, None))
    np.testing.assert_allclose(gated.weights, plain.weights, atol=1e-6)
    assert prototype_kernel([statistics(0)], BACKGROUND, n=3).weights.shape == (3, C)


def test_regression_parts_the_sample_by_its_own_intercept() -> None:
    shot = statistics(0)
    kernel = logistic_kernel([shot])
    margins = [kernel.score(side) - kernel.threshold for side in (shot.inside, shot.outside)]
    assert (margins[0] > 0).mean() > 0.95
    assert (margins[1] < 0).mean() > 0.9


def test_regression_of_very_few_voxels_is_the_difference_of_means() -> None:
    one = statistics(0)
    few = SupportStatistics(one.counts, one.sums, one.outers, one.base_sums, one.inside[:2], one.outside, "a" * 64)
    kernel = logistic_kernel([few])
    assert kernel.weights.shape == (1, C)
    assert np.isfinite(kernel.threshold)


def test_finetuning_lowers_its_loss() -> None:
    shots = [statistics(seed) for seed in range(2)]

    def loss(weights: np.ndarray) -> float:
        inside, outside = (np.concatenate([getattr(s, n) for s in shots]).astype(float) for n in ("inside", "outside"))
        return float(np.logaddexp(0, -10 * inside @ weights[0]).mean() + np.logaddexp(0, 10 * outside @ weights[0]).mean())

    tuned = finetuned_kernel(shots, BACKGROUND)
    assert loss(tuned.weights) < loss(prototype_kernel(shots, BACKGROUND).weights)
    np.testing.assert_allclose(np.linalg.norm(tuned.weights[0] + BACKGROUND), 1)


def test_blend_by_hand() -> None:
    """I21 for the only rule that moves base kernels: background stays. One class shown at 60 degrees: half of each."""
    sums = np.zeros((3, C))
    sums[1, 1], sums[1, 3] = 0.5 * 7, np.sqrt(0.75) * 7
    one = statistics(0)
    shot = SupportStatistics(one.counts, one.sums, one.outers, sums, one.inside, one.outside, one.digest)
    blended = blended_base(BASE.directions, [shot])
    np.testing.assert_allclose(blended[1], 0.5 * np.eye(C)[1] + 0.5 * unit_vector(sums[1]))
    assert np.array_equal(blended[[0, 2]], BASE.directions[[0, 2]])


def test_unknown_rules_and_a_missing_gate_are_named() -> None:
    with pytest.raises(SettingsError, match="`rule` must be one of"):
        make_kernel([statistics(0)], Rule("nearest"), BASE)
    with pytest.raises(SettingsError, match=r"trained with `features.update`"):
        make_kernel([statistics(0)], Rule("gated"), BaseKernels(BASE.directions))
