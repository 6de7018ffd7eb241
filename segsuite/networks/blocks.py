"""The parts of a U-Net: two convolutions of one stage, and the step up with its skip connection."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from segsuite.networks.convolution import Convolution3d
from segsuite.networks.normalisation import InstanceNorm
from segsuite.shapes import Size

__all__ = ["ConvolutionPair", "StepUp"]

LEAK = 0.01


class ConvolutionPair(nn.Module):
    """Convolution, instance norm, leaky ReLU, twice; the first convolution may stride."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: Size, stride: Size) -> None:
        """Build.

        Args:
            in_channels: Of the input.
            out_channels: Of both convolutions.
            kernel: Odd size along i, j, k.
            stride: Of the first convolution along i, j, k.
        """
        super().__init__()
        i, j, k = kernel
        size, padding, step = (i, j, k), (i // 2, j // 2, k // 2), (stride[0], stride[1], stride[2])
        self.first = Convolution3d(in_channels, out_channels, size, step, padding, bias=False)
        self.first_norm = InstanceNorm(out_channels, slope=LEAK)
        self.second = Convolution3d(out_channels, out_channels, size, 1, padding, bias=False)
        self.second_norm = InstanceNorm(out_channels, slope=LEAK)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, in, i, j, k) to (batch, out, i / stride, j / stride, k / stride)."""
        image = self.first_norm(self.first(image))
        return cast(Tensor, self.second_norm(self.second(image)))


class StepUp(nn.Module):
    """Transposed convolution, concatenation with the skip, two convolutions."""

    def __init__(self, in_channels: int, skip_channels: int, *, kernel: Size, stride: Size) -> None:
        """Build.

        Args:
            in_channels: Of the coarser level.
            skip_channels: Of the skip connection; also of the output.
            kernel: Of the convolutions.
            stride: Of the step.
        """
        super().__init__()
        i, j, k = stride
        self.up = nn.ConvTranspose3d(in_channels, skip_channels, (i, j, k), (i, j, k), bias=False)
        self.convolutions = ConvolutionPair(2 * skip_channels, skip_channels, kernel=kernel, stride=(1, 1, 1))

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(batch, in, ...) and (batch, skip, ... * stride) to (batch, skip, ... * stride)."""
        return cast(Tensor, self.convolutions(torch.cat([self.up(coarse), skip], dim=1)))
