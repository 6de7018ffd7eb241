from __future__ import annotations

import torch

from segsuite.networks.blocks import ConvolutionPair, StepUp


def test_pair_strides_once() -> None:
    pair = ConvolutionPair(2, 5, kernel=(3, 3, 1), stride=(2, 2, 1))
    assert pair(torch.randn(1, 2, 8, 8, 6)).shape == (1, 5, 4, 4, 6)


def test_step_up_undoes_the_stride() -> None:
    step = StepUp(6, 3, kernel=(3, 3, 3), stride=(2, 1, 2))
    assert step(torch.randn(1, 6, 4, 5, 4), torch.randn(1, 3, 8, 5, 8)).shape == (1, 3, 8, 5, 8)
