from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from pipelines.cohort_contrast.independence import (
    distance_correlation,
    fit_eraser,
    hsic,
    kernel_mutual_information,
    permutation_p_value,
    what_varies_in_both,
)
from pipelines.cohort_contrast.kernels import on_sphere


def correlated(rho: float, seed: int, n: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.randn(n, 1, generator=draw), torch.randn(n, 1, generator=draw)
    return a, rho * a + math.sqrt(1 - rho**2) * b


def test_11_mutual_information_is_zero_of_independent_rows_and_grows_with_correlation() -> None:
    found = [
        np.mean([float(kernel_mutual_information(*correlated(rho, seed))) for seed in range(5)])
        for rho in (0, 0.3, 0.6, 0.8, 0.9)
    ]
    assert abs(found[0]) < 0.02
    assert found == sorted(found)
    c, s = correlated(0.6, 0)
    torch.testing.assert_close(kernel_mutual_information(c, s), kernel_mutual_information(s, c))
    wide = torch.cat([c, torch.zeros_like(c)], 1)
    turned = wide @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    torch.testing.assert_close(kernel_mutual_information(turned, s), kernel_mutual_information(wide, s), atol=1e-5, rtol=1e-5)


def test_12_self_pairs_would_fake_dependence_of_few_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    c, s = (on_sphere(torch.randn(16, 32, generator=draw)) for _ in range(2))
    assert abs(float(kernel_mutual_information(c, s))) < 0.05

    def kernel(rows: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(torch.cdist(rows, rows) ** 2))

    with_self = (kernel(c) * kernel(s)).mean(1).log() - kernel(c).mean(1).log() - kernel(s).mean(1).log()
    assert float(with_self.mean()) > 0.7


def test_permutations_find_dependence_and_nothing_where_there_is_none() -> None:
    assert permutation_p_value(*correlated(0.6, 1, 128), n=50) <= 1 / 50
    assert permutation_p_value(*correlated(0.0, 2, 128), n=50) > 0.05


def test_penalties_are_zero_of_constants_small_of_independent_and_one_of_equal_spaces() -> None:
    a, b = correlated(0.0, 3)
    for penalty in (hsic, distance_correlation):
        assert float(penalty(a, a)) > 0.999
        assert float(penalty(a, b)) < 0.15
        assert float(penalty(a, a**2)) > 2 * float(penalty(a, b))
        assert float(penalty(a, torch.zeros_like(a))) < 1e-3
    rows = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: distance_correlation(x, b[:6].double()), rows)


def test_distance_correlation_equals_the_double_centred_formula() -> None:
    a, b = (t[:9].double().numpy() for t in correlated(0.5, 4))

    def centred(rows: np.ndarray) -> np.ndarray:
        distances = np.abs(rows - rows.T)
        return distances - distances.mean(0) - distances.mean(1, keepdims=True) + distances.mean()

    one, two = centred(a), centred(b)
    slow = math.sqrt((one * two).mean() / math.sqrt((one**2).mean() * (two**2).mean()))
    assert abs(float(distance_correlation(torch.from_numpy(a), torch.from_numpy(b))) - slow) < 1e-4


def test_after_erasure_no_linear_model_finds_the_concept_and_the_rest_stays() -> None:
    draw = np.random.default_rng(0)
    kind, other = draw.integers(3, size=900), draw.integers(2, size=900)
    one_hot = np.eye(3)[kind]
    rows = one_hot @ draw.normal(size=(3, 6)) + np.outer(other, draw.normal(size=6)) * 3 + 0.3 * draw.normal(size=(900, 6))
    eraser = fit_eraser(rows, one_hot, n_permutations=0)
    left = eraser(torch.from_numpy(rows).float()).numpy()
    covariance = (left - left.mean(0)).T @ (one_hot - one_hot.mean(0)) / 900
    assert np.abs(covariance).max() < 1e-4
    assert LogisticRegression(max_iter=2000).fit(left, kind).score(left, kind) < 0.45
    assert LogisticRegression(max_iter=2000).fit(left, other).score(left, other) > 0.9
    assert float(eraser(torch.zeros(1, 6)).abs().max()) == 0


def test_what_varies_in_both_ignores_what_only_the_diseased_have() -> None:
    draw = np.random.default_rng(1)
    rows = np.stack([draw.normal(size=400), np.r_[np.zeros(200), draw.normal(scale=5, size=200)]], axis=1)
    diseased = np.arange(400) >= 200
    found = what_varies_in_both(rows, diseased, n_directions=1, n_clusters=3)
    assert found.shape == (400, 4)
    assert abs(np.corrcoef(found[:, 0], rows[:, 0])[0, 1]) > 0.99
    assert found[:, 1:].sum(axis=1).tolist() == [1] * 400


def test_chance_is_not_erased() -> None:
    draw = np.random.default_rng(2)
    rows, concept = draw.normal(size=(60, 5)), draw.normal(size=(60, 20))
    np.testing.assert_allclose(fit_eraser(rows, concept).matrix.numpy(), np.eye(5), atol=1e-6)
    concept[:, 0] = rows[:, 2]
    left = fit_eraser(rows, concept)(torch.from_numpy(rows).float()).numpy()
    assert abs(np.corrcoef(left[:, 2], rows[:, 2])[0, 1]) < 0.5 < abs(np.corrcoef(left[:, 1], rows[:, 1])[0, 1])
