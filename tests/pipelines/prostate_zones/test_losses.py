from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipelines.prostate_zones.losses import (
    CO_TRAINING,
    DISTANCE_LIMIT_MM,
    LearnedWeights,
    branch_label,
    class_weights,
    co_training_loss,
    distance_map_loss,
    gland_loss,
    meyer_loss,
    presence_loss,
    ramp_up,
    reconstruction_loss,
    truncated_distance,
    zone_loss,
)

SPACE = (3, 4, 2)


def drawn(n_classes: int = 4, n: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, n_classes, *SPACE, generator=draw), torch.randint(0, n_classes, (n, *SPACE), generator=draw)


def views(seed: int = 0) -> list[torch.Tensor]:
    """Shared zones of two branches, with a rest."""
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, *SPACE, generator=draw).softmax(1)[:, 1:3] for _ in range(2)]


def slow_zone_loss(logits: torch.Tensor, label: torch.Tensor, weights: list[float]) -> float:
    """Section 3.2, voxel by voxel."""
    p = logits.double().softmax(1).numpy()
    total = []
    for b in range(len(p)):
        losses = []
        for c in range(1, p.shape[1]):
            pg = pp = g = 0.0
            for at in np.ndindex(*SPACE):
                hit = float(label[b][at] == c)
                pg, pp, g = pg + p[b, c][at] * hit, pp + p[b, c][at] ** 2, g + hit
            if g:
                losses.append(1 - (2 * pg + 1) / (pp + g + 1))
        total.append(sum(losses) / len(losses) if losses else 0.0)
    entropy = [
        -weights[int(label[b][at])] * math.log(p[b, int(label[b][at])][at]) for b in range(len(p)) for at in np.ndindex(*SPACE)
    ]
    return sum(total) / len(total) + sum(entropy) / len(entropy)


@pytest.mark.parametrize("n_classes", [3, 4, 5])
def test_zone_loss_is_the_formula(n_classes: int) -> None:
    logits, label = drawn(n_classes)
    label[0][label[0] == 2] = 0  # an absent zone in one sample
    weights = [0.5, 1.0, 2.0, 1.5, 0.7][:n_classes]
    assert float(zone_loss(logits, label, weights=weights)) == pytest.approx(slow_zone_loss(logits, label, weights), rel=1e-5)


def test_absent_zone_is_punished_by_the_cross_entropy_alone() -> None:
    """Invariant 9: Dice does not see it, and yet claiming it costs."""
    label = torch.zeros(1, *SPACE, dtype=torch.long)
    quiet, loud = torch.zeros(1, 4, *SPACE), torch.zeros(1, 4, *SPACE)
    quiet[:, 0], loud[:, 3] = 5, 5
    assert zone_loss(quiet, label) < 0.1 < zone_loss(loud, label)


def test_unlabelled_sample_does_not_weaken_the_others() -> None:
    logits, label = drawn()
    alone = zone_loss(logits[:1], label[:1])
    label[1] = -1
    torch.testing.assert_close(zone_loss(logits, label), alone)


def test_nothing_scored_is_zero() -> None:
    logits, label = drawn()
    loss = zone_loss(logits.requires_grad_(), torch.full_like(label, -1))
    loss.backward()
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dice_is_bounded_and_its_gradient_finite_at_certainty(dtype: torch.dtype) -> None:
    """Invariant 16."""
    label = torch.zeros(1, *SPACE, dtype=torch.long)
    label[0, 0] = 1
    for sure in (50.0, -50.0):
        logits = torch.zeros(1, 4, *SPACE, dtype=dtype)
        logits[:, 1] = sure
        logits.requires_grad_()
        loss = zone_loss(logits, label, weights=[0.0] * 4)  # no cross-entropy: Dice alone
        loss.backward()
        assert 0 <= float(loss.detach()) <= 1
        assert torch.isfinite(logits.grad).all()


def test_partial_labels_are_marginalised() -> None:
    """A data set without class 3: its background and its class 1 may be class 3; claiming 3 costs nothing, claiming 2 does."""
    labelled = torch.tensor([[True, True, True, False]])
    label = torch.zeros(1, *SPACE, dtype=torch.long)
    label[0, 0] = 1
    right = 20.0 * F.one_hot(label, 4).movedim(-1, 1).float()
    hidden, wrong = right.clone(), right.clone()
    hidden[:, :, 1] = 20.0 * F.one_hot(torch.full(SPACE[1:], 3), 4).movedim(-1, 0).float()
    wrong[:, :, 1] = 20.0 * F.one_hot(torch.full(SPACE[1:], 2), 4).movedim(-1, 0).float()
    assert float(zone_loss(right, label, labelled=labelled)) < 1e-3
    assert float(zone_loss(hidden, label, labelled=labelled)) < 1e-3
    assert float(zone_loss(wrong, label, labelled=labelled)) > 1
    assert float(zone_loss(hidden, label)) > 1  # with all zones labelled it is an error


def test_partial_loss_is_the_plain_one_when_all_is_labelled() -> None:
    logits, label = drawn()
    torch.testing.assert_close(zone_loss(logits, label, labelled=torch.ones(2, 4, dtype=torch.bool)), zone_loss(logits, label))


def test_meyer_loss_by_hand() -> None:
    """Two voxels, one zone present: p = 1/2 everywhere, so Dice = 2 * 0.5 / (0.5 + 1) = 2/3."""
    logits = torch.zeros(1, 2, 2, 1, 1)
    label = torch.tensor([[[[1]], [[0]]]])
    assert float(meyer_loss(logits, label)) == pytest.approx(1 / 3)


def test_weights_fall_with_the_cube_root() -> None:
    weights = class_weights([0.8, 0.1, 0.1 / 8])
    assert weights[2] / weights[1] == pytest.approx(2)
    assert sum(weights) == pytest.approx(3)


def test_branch_sees_its_own_zones() -> None:
    label = torch.tensor([[-1, 0, 1, 2, 3, 4]])
    assert branch_label(label, [1, 2, 4]).tolist() == [[-1, 0, 1, 2, 0, 3]]
    assert branch_label(label, [3, 1]).tolist() == [[-1, 0, 2, 0, 1, 0]]


def slow_squared(a: torch.Tensor, b: torch.Tensor) -> float:
    """Section 3.3, voxel by voxel over the whole batch."""
    total, count = 0.0, 0
    for n in range(len(a)):
        for at in np.ndindex(*SPACE):
            if max(float(v[n, c][at]) for v in (a, b) for c in range(a.shape[1])) > 0.05:
                count += 1
                total += sum((float(a[n, c][at]) - float(b[n, c][at])) ** 2 for c in range(a.shape[1]))
    return total / (count + 1)


def test_squared_co_training_loss_is_the_formula() -> None:
    a, b = views()
    a[0, :, 0], b[0, :, 0] = 0.01, 0.02  # below the mask
    assert float(co_training_loss([a, b])) == pytest.approx(slow_squared(a, b), rel=1e-5)


def test_divergences_by_hand() -> None:
    """One voxel, distributions (0.5, 0.25, rest 0.25) and (0.25, 0.5, rest 0.25); the mask counts one voxel plus one."""
    a, b = (torch.tensor(values).view(1, 2, 1, 1, 1) for values in ([0.5, 0.25], [0.25, 0.5]))
    kl = 0.5 * math.log(2) + 0.25 * math.log(0.5)
    js = 0.5 * math.log(0.5 / 0.375) + 0.25 * math.log(0.25 / 0.375)
    assert float(co_training_loss([a, b], kind="kl")) == pytest.approx(kl / 2, rel=1e-5)
    assert float(co_training_loss([a, b], kind="js")) == pytest.approx(js / 2, rel=1e-4)
    dice = 2 * 0.125 / (0.25 + 0.0625)
    assert float(co_training_loss([a, b], kind="dice")) == pytest.approx(1 - dice, rel=1e-4)


@pytest.mark.parametrize("kind", CO_TRAINING)
class TestCoTraining:
    def test_is_zero_only_for_equal_views_and_symmetric(self, kind: str) -> None:
        """Invariant 17."""
        a, b = views()
        assert float(co_training_loss([a, a.clone()], kind=kind)) == pytest.approx(0, abs=1e-6)
        assert float(co_training_loss([a, b], kind=kind)) > 1e-3
        torch.testing.assert_close(co_training_loss([a, b], kind=kind), co_training_loss([b, a], kind=kind))

    def test_teacher_gets_no_gradient(self, kind: str) -> None:
        sure = torch.full((1, 2, *SPACE), 0.02)
        sure[:, 0] = 0.95
        unsure = torch.full((1, 2, *SPACE), 0.4)
        for view in (sure, unsure):
            view.requires_grad_()
        co_training_loss([sure, unsure], kind=kind, teacher=True).backward()
        assert sure.grad.abs().max() == 0
        assert unsure.grad.abs().max() > 0


def test_agreement_alone_collapses_but_not_with_the_zones() -> None:
    """Invariant 17: constant predictions minimise L_co; of L_2 they are no minimum, a gradient step leaves them."""
    label = drawn(3)[1]
    shared = [label.clone().clamp_max(2), label.clone().clamp_max(2)]
    bias = torch.zeros(2, 3, requires_grad=True)  # per branch one logit per class, the same at every voxel

    def constant() -> list[torch.Tensor]:
        return [bias[k].view(1, 3, 1, 1, 1).expand(2, 3, *SPACE) for k in range(2)]

    def agreement(logits: list[torch.Tensor]) -> torch.Tensor:
        return co_training_loss([p.softmax(1)[:, 1:] for p in logits])

    assert float(agreement(constant()).detach()) == 0
    free = [drawn(3, seed=9)[0] * 0 + torch.zeros(2, 3, *SPACE) for _ in range(2)]
    for logits in free:
        logits.requires_grad_()
    total = sum(zone_loss(p, g) for p, g in zip(free, shared, strict=True)) + agreement(free)
    total.backward()
    assert all(float(p.grad.abs().max()) > 1e-4 for p in free)
    stepped = [p.detach() - 1.0 * p.grad for p in free]
    assert float(sum(zone_loss(p, g) for p, g in zip(stepped, shared, strict=True)) + agreement(stepped)) < float(total.detach())


def test_ramp_begins_at_zero_and_ends_at_one() -> None:
    """Invariant 18."""
    assert ramp_up(0) == ramp_up(-1) == 0
    assert ramp_up(1) == ramp_up(3) == 1
    half = (math.exp(-1.25) - math.exp(-5)) / (1 - math.exp(-5))
    assert ramp_up(0.5) == pytest.approx(half)


def test_distance_target_is_truncated_and_signed() -> None:
    """Invariant 19: positive inside, -1 beyond 6 mm outside."""
    assert truncated_distance(torch.tensor([-30.0, -6, -3, 0, 3, 12])).tolist() == [-1, -1, -0.5, 0, 0.5, 1]


def test_distance_loss_counts_near_voxels_only() -> None:
    distance = torch.tensor([-24.0, -19, -18, -3, 3]).view(1, 1, 5, 1, 1)
    predicted = torch.zeros_like(distance)
    near = [F.smooth_l1_loss(torch.tensor(0.0), torch.tensor(t)).item() for t in (-1.0, -0.5, 0.5)]
    loss = distance_map_loss(predicted, distance, torch.ones(1, 1, dtype=torch.bool))
    assert float(loss) == pytest.approx(sum(near) / 3)


def test_absent_zone_has_distance_minus_one_everywhere() -> None:
    """Invariant 19."""
    distance = torch.full((1, 1, *SPACE), -DISTANCE_LIMIT_MM)
    known = torch.ones(1, 1, dtype=torch.bool)
    assert float(distance_map_loss(torch.full_like(distance, -1.0), distance, known)) == 0
    assert float(distance_map_loss(torch.zeros_like(distance), distance, known)) == pytest.approx(0.5)
    assert float(distance_map_loss(torch.zeros_like(distance), distance, ~known)) == 0


def test_gland_loss_by_hand_and_blind_where_unknown() -> None:
    logits = torch.zeros(1, 1, 2, 1, 1)
    gland = torch.tensor([1.0, 0.0]).view_as(logits)
    dice = (2 * 0.5 + 1) / (0.25 + 0.25 + 1 + 1)
    assert float(gland_loss(logits, gland)) == pytest.approx(1 - dice + math.log(2))
    half = torch.tensor([1.0, -1.0]).view_as(logits)
    changed = torch.tensor([0.0, 9.0]).view_as(logits)
    torch.testing.assert_close(gland_loss(logits, half), gland_loss(changed, half))


def test_presence_is_asked_per_slice() -> None:
    label = torch.zeros(1, 2, 2, 3, dtype=torch.long)
    label[0, 0, 0, 1], label[0, :, :, 2] = 1, -1  # slice 1 has zone 1, slice 2 is not scored
    sure = torch.tensor([[[-9.0, 9.0, 9.0], [-9.0, -9.0, 9.0]]])
    assert float(presence_loss(sure, label)) < 1e-3
    assert float(presence_loss(-sure, label)) > 4
    only_first = torch.tensor([[True, True, False]])
    swapped = sure.clone()
    swapped[:, 1] *= -1
    assert float(presence_loss(swapped, label, only_first)) < 1e-3


def test_reconstruction_is_the_mean_absolute_difference() -> None:
    assert float(reconstruction_loss(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]))) == 2


def test_learned_weights_by_hand() -> None:
    weights = LearnedWeights(["a", "b"])
    with torch.no_grad():
        weights.log_variances.copy_(torch.tensor([math.log(2), 5.0]))
    value = weights({"a": torch.tensor(4.0), "b": torch.tensor(1.0)})
    assert float(value.detach()) == pytest.approx(4 / 2 + math.log(2) + math.exp(-2) + 2)
