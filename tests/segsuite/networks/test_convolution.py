from __future__ import annotations

import pytest
import torch
from torch import nn

from segsuite.networks.convolution import SLOW_UP_TO, Convolution3d

SHAPES = [
    ((3, 3, 1), (1, 1, 1), (12, 10, 7)),
    ((3, 3, 1), (2, 2, 1), (12, 10, 6)),
    ((3, 3, 1), (2, 2, 2), (12, 10, 6)),
    ((3, 3, 3), (1, 1, 1), (12, 10, 7)),
    ((3, 3, 3), (1, 1, 1), (12, 10, 8)),
    ((3, 3, 3), (2, 2, 1), (12, 10, 5)),
    ((3, 3, 3), (2, 2, 2), (12, 10, 8)),
    ((3, 3, 3), (1, 1, 1), (6, 6, 1)),
    ((1, 1, 1), (1, 1, 1), (6, 6, 4)),
    ((1, 1, 3), (1, 1, 1), (6, 6, 2)),
]


def pair(kernel: tuple[int, ...], stride: tuple[int, ...], *, bias: bool = True) -> tuple[Convolution3d, nn.Conv3d]:
    """Ours and torch's, with equal weights."""
    torch.manual_seed(0)
    padding = tuple(size // 2 for size in kernel)
    ours, theirs = (kind(4, 6, kernel, stride, padding, bias=bias) for kind in (Convolution3d, nn.Conv3d))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize(("kernel", "stride", "shape"), SHAPES)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_numbers_and_gradients_are_torchs(
    kernel: tuple[int, ...], stride: tuple[int, ...], shape: tuple[int, ...], batch: int, bias: bool
) -> None:
    ours, theirs = pair(kernel, stride, bias=bias)
    images = [torch.rand(batch, 4, *shape, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2)]
    outputs = [
        module(image.contiguous(memory_format=torch.channels_last_3d))
        for module, image in zip((ours, theirs), images, strict=True)
    ]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-4, atol=1e-4)
    for mine, peer in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, peer.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kernel", [(3, 3, 1), (3, 3, 3)])
def test_layout_stays_channels_last(kernel: tuple[int, ...]) -> None:
    """Every layer after it would be slow otherwise."""
    ours, _ = pair(kernel, (1, 1, 1))
    image = torch.rand(1, 4, 8, 8, 6).contiguous(memory_format=torch.channels_last_3d)
    assert ours(image).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    ("image", "slow"),
    [
        (torch.zeros(1, 4, 8, 8, 8), True),
        (torch.zeros(2, 4, 8, 8, 8), False),
        (torch.zeros(1, 4, 8, 8, 8, dtype=torch.float64), False),
        (torch.zeros(1, 4, 80, 80, 2), False),
    ],
)
def test_only_what_torch_is_slow_at_goes_another_way(image: torch.Tensor, slow: bool) -> None:
    assert pair((3, 3, 3), (1, 1, 1))[0]._would_be_slow(image) == slow
    assert 4 * 80 * 80 > SLOW_UP_TO > 4 * 8 * 8


def test_bfloat16_has_its_own_fast_path() -> None:
    ours, _ = pair((3, 3, 3), (1, 1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not ours._would_be_slow(torch.zeros(1, 4, 8, 8, 8))
        assert ours(torch.zeros(1, 4, 8, 8, 8)).dtype == torch.bfloat16
