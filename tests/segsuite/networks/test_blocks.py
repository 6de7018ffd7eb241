from __future__ import annotations

import torch

from segsuite.networks.blocks import ConvolutionPair, StepUp, instance_norm


def test_pair_strides_once() -> None:
    pair = ConvolutionPair(2, 5, kernel=(3, 3, 1), stride=(2, 2, 1))
    assert pair(torch.randn(1, 2, 8, 8, 6)).shape == (1, 5, 4, 4, 6)


def test_step_up_undoes_the_stride() -> None:
    step = StepUp(6, 3, kernel=(3, 3, 3), stride=(2, 1, 2))
    assert step(torch.randn(1, 6, 4, 5, 4), torch.randn(1, 3, 8, 5, 8)).shape == (1, 3, 8, 5, 8)


def test_instance_norm_is_torchs_and_keeps_the_layout() -> None:
    image = torch.randn(2, 6, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    ours, theirs = instance_norm(6), torch.nn.InstanceNorm3d(6, affine=True)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(image), theirs(image))
    flat = image.contiguous(memory_format=torch.channels_last_3d)
    assert ours(flat).is_contiguous(memory_format=torch.channels_last_3d)
