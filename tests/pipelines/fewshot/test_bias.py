from __future__ import annotations

import math

import pytest
import torch

from pipelines.fewshot.bias import LARGEST, conditional_bias
from segsuite.errors import SettingsError


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Four voxels: background with an object, background without, base class with an object, background, sure object."""
    base = torch.tensor([[2.0, 2.0, 0.0, 2.0], [0.0, 0.0, 2.0, 0.0]])[None]
    odds = torch.tensor([[1.0, -1.0, 1.0, 9.0]])[None]
    return base, odds


def test_each_kind_by_hand() -> None:
    base, odds = scene()
    of = lambda kind, **more: conditional_bias(base, odds, kind=kind, **{"threshold": 0.5, "size": 2.0, **more})[0, 0].tolist()
    assert of("off") == [0, 0, 0, 0]
    assert of("hard") == [2, 0, 0, 2]
    assert of("soft") == [2, 0, 0, LARGEST]
    assert of("soft", threshold=1 / (1 + math.exp(-0.5))) == pytest.approx([1, 0, 0, LARGEST], abs=1e-5)
    assert of("unconditional") == [2, 2, 2, 2]


def test_no_size_or_full_threshold_is_nothing() -> None:
    """I12."""
    base, odds = scene()
    for kind in ("hard", "soft", "unconditional"):
        assert not conditional_bias(base, odds, kind=kind, threshold=0.5, size=0.0).any()
    for kind in ("hard", "soft"):
        assert not conditional_bias(base, odds, kind=kind, threshold=1.0, size=3.0).any()


def test_conditional_bias_is_bounded_by_its_condition() -> None:
    """I12: nothing where a base class won; a larger size only grows it; at most the voxels of the condition change."""
    torch.manual_seed(0)
    base, odds = torch.randn(1, 3, 50), torch.randn(1, 1, 50)
    condition = (base.argmax(1, keepdim=True) == 0) & (odds.sigmoid() > 0.4)
    before = torch.zeros_like(odds)
    for size in (0.5, 1.0, 2.0):
        found = conditional_bias(base, odds, kind="hard", threshold=0.4, size=size)
        assert torch.equal(found > 0, condition)
        assert (found >= before).all()
        before = found
    with pytest.raises(SettingsError, match="bias must be one of"):
        conditional_bias(base, odds, kind="wild", threshold=0.5, size=1)
