from __future__ import annotations

import pytest
import torch

from pipelines.cohort_contrast.independence import hsic
from pipelines.cohort_contrast.kernels import on_sphere
from pipelines.cohort_contrast.module import Independence, SeparationModule
from pipelines.cohort_contrast.network import build_network
from pipelines.cohort_contrast.scans import ScanDataset
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import PRESETS
from segsuite.errors import ModelError
from tests.pipelines.cohort_contrast.conftest import two_groups

ROWS = [0, 1, 2, 3, 6, 8, 10, 11]


def module(**changed: object) -> SeparationModule:
    torch.manual_seed(0)
    network = build_network(
        {
            "encoder": "convolutional", "spatial_shape": (16, 16), "in_channels": 1, "channels": (8, 8),
            "common_dimensions": 4, "salient_dimensions": 2, "norm": "group",
        }
    )  # fmt: skip
    made = {
        "weights": PRESETS["medical"], "independence": Independence(), "views": Views(), "memory_rows": 0,
        "attribute_is_class": (), "optimiser": lambda n: torch.optim.Adam(n.parameters(), 1e-3), "schedule": lambda p: 1.0,
        "seed": 0, **changed,
    }  # fmt: skip
    found = SeparationModule(network, **made)  # type: ignore[arg-type]
    found.log = lambda *_, **__: None  # type: ignore[method-assign]
    return found


def batch(step: int = 0) -> dict[str, torch.Tensor]:
    made = two_groups()
    attributes = made.attributes["age"][:, None].repeat(2, axis=1) / 12
    return ScanDataset(made, attributes)[step, ROWS]


def test_a_step_moves_both_branches_and_is_a_function_of_its_number() -> None:
    losses = [module().training_step(batch(step), 0).item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    trained = module()
    trained.training_step(batch(), 0).backward()
    for branch in (trained.network.common, trained.network.salient):
        assert sum(float(p.grad.abs().sum()) for p in branch.parameters() if p.grad is not None) > 0


def test_without_joint_entropy_each_branch_has_its_own_terms() -> None:
    made = module(weights=PRESETS["medical"].__class__(0.0, 0.0, 0.0))
    made.training_step(batch(), 0).backward()
    assert sum(float(p.grad.abs().sum()) for p in made.network.salient.parameters() if p.grad is not None) == 0


@pytest.mark.parametrize("penalty", ["hsic", "distance_correlation"])
def test_a_penalty_moves_the_salient_branch_only(penalty: str) -> None:
    made = module(independence=Independence(penalty=penalty, weight=1.0))
    first, second = made.embedded(batch())
    terms = made.loss_terms(first, second, batch())
    terms["dependence"].backward()
    assert all(p.grad is None or float(p.grad.abs().sum()) == 0 for p in made.network.common.parameters())
    if penalty == "hsic":
        y = batch()["is_diseased"]
        by_hand = (hsic(first.common[y], first.salient[y]) + hsic(second.common[y], second.salient[y])) / 2
        torch.testing.assert_close(terms["dependence"], by_hand)


def test_mixing_attributes_and_representations_are_switches() -> None:
    plain = module().training_step(batch(), 0).item()
    for changed in (
        {"independence": Independence(mixing=0.5)},
        {"independence": Independence(on_representations=True)},
        {"attribute_is_class": (False, True)},
    ):
        assert module(**changed).training_step(batch(), 0).item() != plain


def test_memory_holds_the_newest_rows_and_never_a_subject_of_this_batch() -> None:
    made = module(memory_rows=10)
    first, _ = made.embedded(batch())
    made.training_step(batch(), 0)
    torch.testing.assert_close(made.memory_common[:8], on_sphere(first.common_head).detach())
    assert made.memory_subject[8:].tolist() == [-1, -1]
    kept = made._remembered(batch())
    assert kept is not None
    assert len(kept[0]) == 0
    other = {**batch(), "subject": torch.full((8,), 99)}
    again = made._remembered(other)
    assert again is not None
    assert len(again[0]) == 8


def test_branches_are_clipped_apart() -> None:
    made = module()
    made.training_step(batch(), 0).backward()
    for parameter in made.network.salient.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(1e6)
    before = [p.grad.clone() for p in made.network.common.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in before]).norm()
    made.configure_gradient_clipping(torch.optim.SGD(made.parameters(), 1), 1e9 * float(norm))
    after = [p.grad for p in made.network.common.parameters() if p.grad is not None]
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_a_loss_that_is_not_finite_stops_and_says_which_term() -> None:
    made = module()
    made.loss_terms = lambda *_: {"null": torch.tensor(float("nan")), "loss": torch.tensor(float("nan"))}  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="The loss must stay finite, got null, loss = nan or infinite at step 0"):
        made.training_step(batch(), 0)
