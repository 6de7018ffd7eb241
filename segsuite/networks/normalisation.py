"""Instance normalisation that keeps the channels-last layout, fused with the leaky ReLU behind it.

On a CPU it is torch's group norm with one group per channel: the same function with the same parameters, but torch's own
instance norm turns images out of the channels-last layout, and every convolution after it is slower. On a GPU group norm turns
them out of it too and computes in single precision. There, a long training runs the formula compiled into one kernel for the
sums and one for the rest, forwards and backwards; prediction, which should not wait for a compiler, takes the two kernels that
torch has for batch norm over several devices.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.errors import Advice

__all__ = ["InstanceNorm"]

Formula = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]
MOST_COMPILED = 64
"""Feature maps of different size for which the formula is compiled; a U-Net has six or so, in training and in validation."""


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation with a scale and a shift per channel, then a leaky ReLU.

    Attributes:
        compiled: Train on a GPU with the compiled formula; half a minute of compiling that a short training does not win back.

    Source: Ulyanov et al., arXiv:1607.08022, equation 1; Maas et al., ICML 2013 workshop.
    """

    def __init__(self, channels: int, *, slope: float = 1.0) -> None:
        """Build.

        Args:
            channels: Of the features.
            slope: Of the leaky ReLU below zero; 1: none.
        """
        super().__init__(channels, channels)
        self.slope = slope
        self.compiled = False

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, i, j, k) to the same; on a GPU in the number format of the input."""
        if image.device.type != "cuda":
            normalised = super().forward(image)
            return normalised if self.slope == 1 else F.leaky_relu_(normalised, self.slope)
        if torch.is_grad_enabled():
            formula = _compiled if self.compiled else normalise_and_activate
            return formula(image, self.weight, self.bias, self.eps, self.slope)
        return _by_batch_norm_kernels(image, self.weight, self.bias, self.eps, self.slope)


def normalise_and_activate(image: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """The formula, in single precision.

    Args:
        image: (batch, channels, i, j, k).
        weight: (channels,).
        bias: (channels,).
        eps: Added to the variance.
        slope: Below zero; 1: none.

    Returns:
        Same shape and number format as the image.
    """
    shape = (1, -1, 1, 1, 1)
    values = image.float()
    variance, mean = torch.var_mean(values, dim=(2, 3, 4), keepdim=True, correction=0)
    scale = torch.rsqrt(variance + eps) * weight.float().view(shape)
    normalised = (values - mean) * scale + bias.float().view(shape)
    return F.leaky_relu(normalised, slope).to(image.dtype)


class _Compiled:
    """The formula, compiled for each size that comes; run step by step where nothing can be compiled (no C compiler)."""

    def __init__(self) -> None:
        self.works = True
        self.sizes: set[tuple[int, ...]] = set()
        self.formula: Formula | None = None

    def __call__(self, image: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
        if not self.works:
            return normalise_and_activate(image, weight, bias, eps, slope)
        if self.formula is not None and image.shape in self.sizes:
            return self.formula(image, weight, bias, eps, slope)
        try:
            with warnings.catch_warnings():
                # the compiler looks at the gradients of what it is given, and torch warns of that
                warnings.filterwarnings("ignore", message=".*grad attribute of a Tensor that is not a leaf.*")
                self.formula = self.formula or _compile()
                result = self.formula(image, weight, bias, eps, slope)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.works = False
            warnings.warn(
                f"training goes on slower, since torch cannot compile here: {str(error).splitlines()[:1]}",
                Advice,
                stacklevel=2,
            )
            return normalise_and_activate(image, weight, bias, eps, slope)
        self.sizes.add(tuple(image.shape))
        return result


def _compile() -> Formula:
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, MOST_COMPILED)
    compiled: Formula = torch.compile(normalise_and_activate, dynamic=False)
    return compiled


_compiled = _Compiled()


def _by_batch_norm_kernels(image: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float) -> Tensor:
    """Sample by sample, since the statistics of batch norm are those of instance norm in a batch of one."""
    result = torch.empty_like(image)
    for sample, out in zip(image.split(1), result.split(1), strict=True):
        mean, inverse_std = torch.batch_norm_stats(sample, eps)
        torch.batch_norm_elemt(sample, weight, bias, mean, inverse_std, eps, out=out)
    return result if slope == 1 else F.leaky_relu_(result, slope)
