from __future__ import annotations

import torch

from pipelines.fewshot.losses import base_label, region_label, region_loss

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
