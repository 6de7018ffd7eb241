"""A 3-D convolution that is not slow for a single small patch on a CPU; the same numbers and the same weights as torch's own.

Torch computes a batch of one with few features by a path without oneDNN, which is much slower. There the patch
is given as several: its slices, where the kernel stays within slices, or its two halves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Convolution3d"]

SLOW_UP_TO = 20480
"""Largest product of batch, channels and the first two sizes for which torch takes its slow path."""
SLOW_KERNEL = 3
"""Largest in-plane kernel for which it does."""


class Convolution3d(nn.Conv3d):
    """``torch.nn.Conv3d`` with zero padding, one group, no dilation."""

    def forward(self, image: Tensor) -> Tensor:
        """(batch, in, i, j, k) to (batch, out, i', j', k')."""
        if not self._would_be_slow(image):
            return super().forward(image)
        if self.kernel_size[2] == 1 and self.padding[2] == 0:
            return self._slice_by_slice(image)
        if self.stride[2] == 1 and image.shape[4] > 1:
            return self._in_halves(image)
        return super().forward(image.expand(2, -1, -1, -1, -1))[:1]

    def _would_be_slow(self, image: Tensor) -> bool:
        return (
            image.shape[0] == 1
            and image.device.type == "cpu"
            and image.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and 1 < max(self.kernel_size) <= SLOW_KERNEL
            and self.groups == 1
            and math.prod(image.shape[1:4]) <= SLOW_UP_TO
        )

    def _slice_by_slice(self, image: Tensor) -> Tensor:
        """As a 2-D convolution of all slices; both ways the memory stays channels last."""
        slices = image[..., :: self.stride[2]].permute(0, 4, 2, 3, 1).contiguous()[0].permute(0, 3, 1, 2)
        stride, padding = (self.stride[0], self.stride[1]), (int(self.padding[0]), int(self.padding[1]))
        done = F.conv2d(slices, self.weight[..., 0], self.bias, stride, padding)
        return done.permute(2, 3, 0, 1).contiguous().permute(3, 0, 1, 2)[None]

    def _in_halves(self, image: Tensor) -> Tensor:
        """As a batch of two parts that overlap by the kernel."""
        margin = int(self.padding[2])
        padded = F.pad(image, (margin, margin))
        n_out = padded.shape[4] - self.kernel_size[2] + 1
        half = (n_out + 1) // 2
        width = half + self.kernel_size[2] - 1
        parts = torch.cat([padded[..., :width], padded[..., padded.shape[4] - width :]])
        padding = (int(self.padding[0]), int(self.padding[1]), 0)
        first, second = F.conv3d(parts, self.weight, self.bias, self.stride, padding)
        whole = torch.cat([first, second[..., 2 * half - n_out :]], dim=3)[None]
        return whole.contiguous(memory_format=torch.channels_last_3d)
