from __future__ import annotations

import math

import pytest
import torch

from pipelines.fewshot.foreground import (
    ForegroundHead,
    context_classes,
    foreground_loss,
    foreground_target,
    surest_background,
)


def head() -> ForegroundHead:
    torch.manual_seed(0)
    return ForegroundHead(6, 5, channels=8, heads=2).eval()


def test_shape_range_and_no_dependence_on_the_batch() -> None:
    """I17: alone and in a batch; cosines times 10 give log-odds within 20."""
    branch, levels, context = head(), torch.randn(3, 6, 8, 8, 4), torch.randn(2, 5)
    found = branch(levels, context)
    assert found.shape == (3, 1, 8, 8, 4)
    assert found.abs().max() <= 20
    torch.testing.assert_close(branch(levels[1:2], context)[0], found[1], atol=1e-4, rtol=1e-4)


def test_order_and_length_of_context_do_not_matter() -> None:
    branch, levels, context = head(), torch.randn(1, 6, 8, 8, 4), torch.randn(3, 5)
    found = branch(levels, context)
    torch.testing.assert_close(branch(levels, 2 * context.flip(0)), found, atol=1e-4, rtol=1e-4)
    assert branch(levels, context[:0]).shape == found.shape


@pytest.mark.parametrize("n", [2, 3, 6])
def test_held_out_classes_are_not_in_the_context(n: int) -> None:
    """I24: a third is left out, at least one, another one each time."""
    torch.manual_seed(0)
    present = torch.arange(1, n + 1)
    draws = [context_classes(present, leave_out=True) for _ in range(30)]
    assert {len(draw) for draw in draws} == {n - max(1, round(n / 3))}
    assert set(torch.cat(draws).tolist()) == set(present.tolist())
    assert torch.equal(context_classes(present, leave_out=False), present)
    assert torch.equal(context_classes(present[:1], leave_out=True), present[:1])


def test_target_of_any_class() -> None:
    assert foreground_target(torch.tensor([[-1, 0, 1, 7]])).tolist() == [[[-1, 0, 1, 1]]]


def test_background_most_like_objects_is_left_out() -> None:
    logits = torch.tensor([[[5.0, 1.0, 3.0, 2.0, 9.0]]])
    target = torch.tensor([[[0, 0, 0, 0, 1]]])
    assert surest_background(logits, target, 0.5).tolist() == [[[-1, 0, -1, 0, 1]]]
    assert torch.equal(surest_background(logits, target, 0.0), target)


def test_loss_by_hand_and_what_is_not_scored() -> None:
    """I8: one object and one background voxel at probability 1/2: log 2, and Dice (2 * 0.5 + 1) / (1 + 1 + 1)."""
    logits = torch.zeros(1, 1, 3, requires_grad=True)
    loss = foreground_loss(logits, torch.tensor([[[1, 0, -1]]]))
    assert loss.item() == pytest.approx(math.log(2) + 1 - 2 / 3)
    loss.backward()
    assert logits.grad[0, 0, 2] == 0
