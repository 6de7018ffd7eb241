"""The invariants of the specification, section 7, numbered as there."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipelines.cohort_contrast.kernels import on_sphere
from pipelines.cohort_contrast.losses import (
    alignment,
    floor_of_uniformity,
    joint_entropy,
    null_pull,
    salient_targets,
    salient_uniformity,
    separation_terms,
    split_uniformity,
    uniformity,
)
from pipelines.cohort_contrast.weights import PRESETS, Weights


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def groups(n0: int, n1: int) -> Tensor:
    return torch.arange(n0 + n1) >= n0


def batch(n: int = 8, seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    common = rows(n, 4, seed), rows(n, 4, seed + 1)
    salient = rows(n, 3, seed + 2), rows(n, 3, seed + 3)
    return common, salient, groups(n // 2, n // 2)


def test_1_alignment_is_zero_of_itself_symmetric_and_scales_with_the_bandwidth() -> None:
    a, b = rows(5, 3), rows(5, 3, 1)
    assert float(alignment(a, a)) == 0
    torch.testing.assert_close(alignment(a, b), alignment(b, a))
    torch.testing.assert_close(alignment(a, b, bandwidth=0.25), 2 * alignment(a, b, bandwidth=0.5))
    assert float(alignment(a, b)) == pytest.approx(float(((a - b) ** 2).sum(1).mean()))


@pytest.mark.parametrize("kind", ["pooled", "per_anchor"])
def test_2_uniformity_is_at_most_zero_and_does_not_see_moves_of_the_whole_space(kind: str) -> None:
    a = rows(6, 3)
    turned = a @ torch.linalg.qr(rows(3, 3, 5))[0] + 7
    assert float(uniformity(a, kind=kind)) < 0
    torch.testing.assert_close(uniformity(turned, kind=kind), uniformity(a, kind=kind))
    torch.testing.assert_close(uniformity(a.flip(0), kind=kind), uniformity(a, kind=kind))
    assert float(uniformity(torch.ones(4, 2), kind=kind)) == pytest.approx(0, abs=1e-7)


def test_2_pooled_uniformity_equals_a_double_loop_and_is_never_below_the_other() -> None:
    a = rows(5, 2)
    kernel = [math.exp(-float(((a[i] - a[j]) ** 2).sum())) for i in range(5) for j in range(5) if i != j]
    assert float(uniformity(a)) == pytest.approx(math.log(sum(kernel) / 20))
    per_row = [kernel[4 * i : 4 * i + 4] for i in range(5)]
    assert float(uniformity(a, kind="per_anchor")) == pytest.approx(sum(math.log(sum(row) / 4) for row in per_row) / 5)
    assert float(uniformity(a)) >= float(uniformity(a, kind="per_anchor"))


def test_3_on_the_sphere_the_kernel_is_a_function_of_the_cosine() -> None:
    u = on_sphere(rows(6, 4))
    cosines = [float(u[i] @ u[j]) for i in range(6) for j in range(6) if i < j]
    assert float(uniformity(u)) == pytest.approx(math.log(sum(math.exp(2 * c - 2) for c in cosines) / 15), abs=1e-6)


def test_4_aligned_views_cost_less_than_rolled_ones_and_a_shared_turn_changes_nothing() -> None:
    common, salient, diseased = batch()
    near = common[0], common[0] + 0.01 * common[1]
    rolled = near[0], near[1].roll(1, 0)
    good, bad = (separation_terms(pair, salient, diseased, PRESETS["medical"]) for pair in (near, rolled))
    assert good["common_alignment"] < bad["common_alignment"]
    turn = torch.linalg.qr(rows(4, 4, 9))[0]
    turned = separation_terms((near[0] @ turn, near[1] @ turn), salient, diseased, PRESETS["medical"])
    torch.testing.assert_close(turned["loss"], good["loss"])


def test_5_the_salient_uniformity_has_a_floor_where_its_gradient_fades() -> None:
    far = (1e3 * rows(256, 4)).requires_grad_()
    found = salient_uniformity(far, groups(128, 128))
    found.backward()
    assert float(found.detach()) == pytest.approx(floor_of_uniformity(128, 128), abs=1e-9)
    assert floor_of_uniformity(128, 128) == pytest.approx(-1.390, abs=5e-4)
    assert far.grad is not None
    assert float(far.grad.abs().max()) == 0
    assert floor_of_uniformity(1, 5) == -math.inf


def test_6_the_null_point_repels_the_diseased_and_healthy_rows_get_no_gradient_from_it() -> None:
    diseased = groups(3, 1)
    for r in (0.1, 0.5, 2.0):
        z = torch.zeros(4, 2, dtype=torch.float64)
        z[3, 0] = r
        z.requires_grad_()
        salient_uniformity(z, diseased).backward()
        assert z.grad is not None
        assert float(z.grad[3, 0]) < 0
        assert torch.isfinite(z.grad).all()
        assert float(z.grad[:3].abs().max()) == 0
    z = rows(4, 2).requires_grad_()
    null_pull(z, diseased).backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad[:3], 2 * z.detach()[:3] / 3)
    assert float(z.grad[3].abs().max()) == 0


def test_7_free_embeddings_fall_to_the_null_point_and_leave_it() -> None:
    torch.manual_seed(0)
    z = torch.randn(64, 4, requires_grad=True)
    diseased = groups(32, 32)
    optimiser = torch.optim.Adam([z], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        (2 * salient_uniformity(z, diseased) + null_pull(z, diseased)).backward()
        optimiser.step()
    norms = z.detach().norm(dim=1)
    assert norms[:32].mean() < 1e-2
    assert norms[32:].median() > 1
    assert norms[32:].min() > norms[:32].max()


@pytest.mark.parametrize("coincident", [False, True])
def test_8_gradients_are_those_of_the_formulas_also_where_rows_coincide(coincident: bool) -> None:
    a, b = rows(5, 3), rows(5, 3, 1)
    if coincident:
        a[1] = a[0]
    diseased = groups(2, 3)
    checks = [
        lambda x: alignment(x, b),
        lambda x: uniformity(x),
        lambda x: uniformity(x, kind="per_anchor"),
        lambda x: salient_uniformity(x, diseased),
        lambda x: split_uniformity(x),
        lambda x: joint_entropy(x, b),
        lambda x: joint_entropy(x, b, include_self=True),
        lambda x: null_pull(x, diseased),
    ]
    for check in checks:
        assert torch.autograd.gradcheck(check, a.clone().requires_grad_())
        single, double = check(a.float()), check(a)
        assert float(single) == pytest.approx(float(double), rel=1e-5, abs=1e-6)


def test_9_the_order_of_subjects_and_of_views_means_nothing() -> None:
    common, salient, diseased = batch()
    loss = separation_terms(common, salient, diseased, PRESETS["medical"])["loss"]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    moved = separation_terms(
        (common[0][order], common[1][order]), (salient[0][order], salient[1][order]), diseased[order], PRESETS["medical"]
    )["loss"]
    swapped = separation_terms(common[::-1], salient[::-1], diseased, PRESETS["medical"])["loss"]  # type: ignore[arg-type]
    assert float(moved) == pytest.approx(float(loss), abs=1e-6)
    assert float(swapped) == pytest.approx(float(loss), abs=1e-6)


def test_10_the_joint_entropy_equals_a_double_loop_and_has_the_floor_of_its_self_pairs() -> None:
    c, s = rows(6, 3), rows(6, 2, 1)

    def kernel(a: Tensor, i: int, j: int) -> float:
        return math.exp(-float(((a[i] - a[j]) ** 2).sum()))

    slow = sum(math.log(sum(kernel(c, i, j) * kernel(s, i, j) for j in range(6)) / 6) for i in range(6)) / 6
    assert float(joint_entropy(c, s, include_self=True)) == pytest.approx(slow)
    assert float(joint_entropy(100 * c, s, include_self=True)) == pytest.approx(math.log(1 / 6))
    marginal = sum(math.log(sum(kernel(c, i, j) for j in range(6)) / 6) for i in range(6)) / 6
    assert float(joint_entropy(c, torch.zeros_like(s), include_self=True)) == pytest.approx(marginal)
    without = sum(math.log(sum(kernel(c, i, j) * kernel(s, i, j) for j in range(6) if j != i) / 5) for i in range(6)) / 6
    assert float(joint_entropy(c, s)) == pytest.approx(without)


def test_13_far_away_rows_do_not_underflow() -> None:
    far = 1e4 * rows(4, 3).float()
    assert torch.isfinite(uniformity(far))
    assert torch.isfinite(split_uniformity(far))


def test_14_bad_input_is_named() -> None:
    common, salient, diseased = batch()
    medical = PRESETS["medical"]
    with pytest.raises(ValueError, match=r"at least 2 rows of each group, got 8 healthy and 0 diseased"):
        separation_terms(common, salient, torch.zeros(8), medical)
    with pytest.raises(ValueError, match=r"got 7 healthy and 1 diseased"):
        separation_terms(common, salient, torch.arange(8) == 0, medical)
    with pytest.raises(ValueError, match=r"got 0 healthy and 8 diseased"):
        separation_terms(common, salient, torch.ones(8), medical)
    with pytest.raises(ValueError, match=r"`is_diseased` must be 0 \(healthy\) or 1 \(diseased\), got \[0, 2\]"):
        separation_terms(common, salient, 2 * diseased.long(), medical)
    broken = salient[0].clone()
    broken[0, 0] = math.nan
    with pytest.raises(ValueError, match="`salient` must be finite, got NaN"):
        separation_terms(common, (broken, salient[1]), diseased, medical)
    with pytest.raises(ValueError, match=r"`first` and `second` must be two views .* got \(8, 4\) and \(7, 4\)"):
        separation_terms((common[0], common[1][:7]), salient, diseased, medical)
    with pytest.raises(ValueError, match="`bandwidth` must be above 0, got -1"):
        uniformity(common[0], bandwidth=-1)
    with pytest.raises(ValueError, match="`kind` must be pooled or per_anchor, got `both`"):
        uniformity(common[0], kind="both")
    with pytest.raises(ValueError, match=r"`common` and `salient` must have the same rows"):
        joint_entropy(common[0], salient[0][:3])
    with pytest.raises(ValueError, match=r"healthy rows of `salient`"):
        null_pull(salient[0], torch.ones(8, dtype=torch.bool))


def test_15_the_loss_of_half_precision_is_float32_and_finite_under_autocast() -> None:
    common, salient, diseased = batch()
    halves = [(a.bfloat16(), b.bfloat16()) for a, b in (common, salient)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = separation_terms(halves[0], halves[1], diseased, PRESETS["vision"])
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in terms.values())


def test_17_only_ratios_of_the_salient_weights_matter_to_adam() -> None:
    """Multiplying all three salient weights leaves the path of an optimiser without a scale of its own unchanged."""

    def path(factor: float) -> Tensor:
        (common, salient, diseased) = batch(seed=4)
        z = salient[0].clone().requires_grad_()
        weights = replace(PRESETS["medical"], salient=factor, null=10 * factor, joint=10 * factor)
        optimiser = torch.optim.Adam([z], 1e-2, eps=1e-30)
        for _ in range(20):
            optimiser.zero_grad()
            separation_terms(common, (z, z + 0.1), diseased, weights)["loss"].backward()
            optimiser.step()
        return z.detach()

    torch.testing.assert_close(path(1.0), path(1000.0), atol=1e-4, rtol=0)


def test_split_uniformity_does_not_depend_on_the_share_of_healthy_rows() -> None:
    z = rows(6, 2)
    few, many = (torch.cat([torch.zeros(n, 2, dtype=torch.float64), z]) for n in (2, 40))
    found = [salient_uniformity(a, groups(len(a) - 6, 6), kind="split") for a in (few, many)]
    torch.testing.assert_close(found[0], found[1])
    pooled = [salient_uniformity(a, groups(len(a) - 6, 6)) for a in (few, many)]
    assert float(pooled[1]) > float(pooled[0]) + 0.1
    kernel = [math.exp(-float((row**2).sum())) for row in z]
    pairs = [math.exp(-float(((z[i] - z[j]) ** 2).sum())) for i in range(6) for j in range(i)]
    assert float(split_uniformity(z)) == pytest.approx(math.log((sum(kernel) / 6 + sum(pairs) / 15) / 2))


def test_pooled_salient_uniformity_is_the_expansion_into_three_kinds_of_pairs() -> None:
    z = rows(3, 2)
    everyone = torch.cat([rows(2, 2, 8), z])
    to_null = sum(math.exp(-float((row**2).sum())) for row in z)
    pairs = sum(math.exp(-float(((z[i] - z[j]) ** 2).sum())) for i in range(3) for j in range(i))
    assert float(salient_uniformity(everyone, groups(2, 3))) == pytest.approx(math.log((1 + 2 * to_null + pairs) / 10))
    assert salient_targets(everyone, groups(2, 3))[:2].abs().max() == 0


def test_remembered_rows_are_neighbours_but_neither_aligned_nor_pulled() -> None:
    common, salient, diseased = batch()
    old = on_sphere(rows(5, 4, 11)), rows(5, 3, 12), groups(2, 3)
    plain = separation_terms(common, salient, diseased, PRESETS["medical"])
    wide = separation_terms(common, salient, diseased, PRESETS["medical"], remembered=old)
    for name in ("common_alignment", "salient_alignment", "null"):
        torch.testing.assert_close(wide[name], plain[name])
    both = torch.cat([on_sphere(common[0]), old[0]]), torch.cat([on_sphere(common[1]), old[0]])
    torch.testing.assert_close(wide["common_uniformity"], (uniformity(both[0]) + uniformity(both[1])) / 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_only_a_share_of_the_joint_entropy_moves_the_common_branch(share: float) -> None:
    """Numbers stay; the common gradient is that of the other terms plus the share; the salient one is untouched."""

    def gradients(weights: Weights) -> tuple[float, Tensor, Tensor]:
        common, salient, diseased = batch()
        leaves = [view.clone().requires_grad_() for view in (*common, *salient)]
        loss = separation_terms((leaves[0], leaves[1]), (leaves[2], leaves[3]), diseased, weights)["loss"]
        loss.backward()
        return loss.item(), torch.cat([leaf.grad for leaf in leaves[:2]]), torch.cat([leaf.grad for leaf in leaves[2:]])

    whole, without = gradients(PRESETS["medical"]), gradients(replace(PRESETS["medical"], joint=0.0))
    found = gradients(replace(PRESETS["medical"], joint_on_common=share))
    assert found[0] == pytest.approx(whole[0])
    torch.testing.assert_close(found[1], without[1] + share * (whole[1] - without[1]))
    torch.testing.assert_close(found[2], whole[2])


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    common, salient, diseased = batch()
    terms = separation_terms(common, salient, diseased, PRESETS["medical_strong_null"])
    by_hand = terms["common_alignment"] + 2 * terms["common_uniformity"] + 100 * terms["null"] + 10 * terms["joint"]
    by_hand = by_hand + terms["salient_alignment"] + 2 * terms["salient_uniformity"]
    torch.testing.assert_close(terms["loss"], by_hand)
