from __future__ import annotations

import torch

from pipelines.fewshot.losses import base_label, base_loss, region_label, region_loss, updated_loss

LESSON = torch.tensor([[-1, 0, 1, 2, 3, 4]])


def test_labels_of_a_lesson() -> None:
    """Two base classes: 3 and 4 are regions."""
    assert base_label(LESSON, 2).tolist() == [[-1, 0, 1, 2, 0, 0]]
    assert region_label(LESSON).tolist() == [[-1, -1, 0, 1, 2, 3]]


def test_air_teaches_no_region() -> None:
    lesson = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    logits = torch.randn(1, 3, 2, 2, 2, requires_grad=True)
    region_loss(logits, region_label(lesson)).backward()
    assert logits.grad.abs().max() == 0


def test_loss_of_an_episode_is_halves_and_a_dice() -> None:
    """With equal logits it is the base loss; a perfect update leaves half of the learned kernels' entropy."""
    torch.manual_seed(0)
    label = torch.randint(0, 3, (1, 4, 4, 2))
    logits = torch.randn(1, 3, 4, 4, 2)
    torch.testing.assert_close(updated_loss(logits, logits, label), base_loss(logits, label))
    perfect = 100 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    entropy = torch.nn.functional.cross_entropy(logits, label)
    torch.testing.assert_close(updated_loss(logits, perfect, label), 0.5 * entropy, atol=1e-3, rtol=1e-3)
