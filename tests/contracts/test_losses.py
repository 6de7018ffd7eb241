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
}
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
