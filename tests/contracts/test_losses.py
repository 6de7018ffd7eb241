"""What every loss of the house and of the pipelines must fulfil."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS: dict[str, dict[str, object]] = {
    "soft_dice_loss": {"include_background": True, "over_batch": True},
    "cross_entropy_loss": {"label_smoothing": 0.0},
    "supervised_loss": {"label_smoothing": 0.0},
    "zone_loss": {},
    "base_loss": {},
    "region_loss": {},
    "meyer_loss": {},
}


def targets(label: Tensor) -> Tensor:
    """Each of three classes as a channel."""
    return torch.stack([label == value for value in range(3)], dim=1).float()


def scored_targets(label: Tensor) -> Tensor:
    """The same, -1 where nothing is scored."""
    return torch.where((label == -1)[:, None], -1.0, targets(label))


ADAPTED: dict[str, Callable[[Callable[..., Tensor], Tensor, Tensor], Tensor]] = {
    "binary_cross_entropy_loss": lambda loss, logits, label: loss(margin(logits), scored_targets(label), label_smoothing=0.0),
    "binary_dice_loss": lambda loss, logits, label: loss(margin(logits), scored_targets(label), over_batch=True),
    "co_training_loss": lambda loss, logits, label: loss([logits.float().softmax(1) * (label != -1)[:, None], targets(label)]),
    "distance_map_loss": lambda loss, logits, label: loss(
        margin(logits).tanh(), 12 * targets(label) - 6, (label != -1)[:, None].expand(logits.shape)
    ),
    "gland_loss": lambda loss, logits, label: loss(margin(logits)[:, 1:2], scored_targets(label)[:, 1:2]),
    "presence_loss": lambda loss, logits, label: loss(slices(logits, label), label.clamp_max(2)),
    "reconstruction_loss": lambda loss, logits, label: loss(logits.float().softmax(1) * (label != -1)[:, None], targets(label)),
    "supervised_regions_loss": lambda loss, logits, label: loss(
        [margin(logits)], label, membership=torch.eye(3, dtype=torch.bool), label_smoothing=0.0
    ),
    "updated_loss": lambda loss, logits, label: loss(logits, logits, label),
}
"""Losses of another signature, called so that logits and label mean the same."""


def margin(logits: Tensor) -> Tensor:
    """Above zero where a class is right."""
    return 2 * logits - logits.abs().amax(1, keepdim=True)


def slices(logits: Tensor, label: Tensor) -> Tensor:
    """A logit per zone and slice from logits per voxel, of scored voxels only."""
    return margin(logits)[:, 1:].masked_fill((label == -1)[:, None], -9).amax(dim=(2, 3))


ON_LEVELS = {"supervised_loss"}
COMBINATORS = {"deep_supervision_loss"}


def all_losses() -> dict[str, Callable[..., Tensor]]:
    found = {}
    paths = [*(ROOT / "segsuite" / "losses").glob("*.py"), *(ROOT / "pipelines").glob("*/losses.py")]
    for path in paths:
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name in getattr(module, "__all__", []):
            if name.endswith("_loss") and name not in COMBINATORS:
                found[name] = getattr(module, name)
    return found


LOSSES = all_losses()


def call(name: str, logits: Tensor, label: Tensor) -> Tensor:
    if name in ADAPTED:
        return ADAPTED[name](LOSSES[name], logits, label)
    return LOSSES[name]([logits] if name in ON_LEVELS else logits, label, **ARGUMENTS[name])


@pytest.mark.parametrize("name", sorted(LOSSES))
class TestEveryLoss:
    def test_is_a_finite_scalar_with_finite_gradient(self, name: str) -> None:
        torch.manual_seed(0)
        logits = torch.randn(2, 3, 4, 5, 3, requires_grad=True)
        loss = call(name, logits, torch.randint(0, 3, (2, 4, 5, 3)))
        assert loss.ndim == 0
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()
        assert logits.grad.abs().sum() > 0

    def test_is_least_when_the_prediction_is_right(self, name: str) -> None:
        label = torch.randint(0, 3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(1))
        right = 20.0 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
        assert call(name, right, label) < 1e-3 < call(name, -right, label)

    def test_stays_finite_for_an_absent_class_and_in_bfloat16(self, name: str) -> None:
        logits = torch.full((1, 3, 4, 4, 4), 40.0, dtype=torch.bfloat16)
        logits[:, 1:] = -40.0
        loss = call(name, logits.requires_grad_(), torch.zeros(1, 4, 4, 4, dtype=torch.long))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()

    def test_does_not_look_at_voxels_that_are_not_scored(self, name: str) -> None:
        torch.manual_seed(2)
        logits, label = torch.randn(1, 3, 4, 4, 4), torch.randint(0, 3, (1, 4, 4, 4))
        label[:, :2] = -1
        changed = logits.clone()
        changed[:, :, :2] = torch.randn(1, 3, 2, 4, 4)
        torch.testing.assert_close(call(name, logits, label), call(name, changed, label))
