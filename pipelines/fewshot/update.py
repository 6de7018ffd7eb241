"""One kind of operation that makes base kernels and kernels of new structures: pool features, then a gated update (PKL).

Source: the idea (prototype learning within the update of kernels) is in the abstract of Huang et al. 2023,
arXiv:2308.04952; its equations could not be read, those here are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["KernelUpdate", "pooled_prototypes"]


def pooled_prototypes(features: Tensor, label: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    r"""Directions of the classes' features.

    .. math:: p_c = \mathrm{unit}\Big(\frac{\sum_x w_c(x) \hat f(x)}{\sum_x w_c(x) + \epsilon}\Big)

    Args:
        features: (batch, C, *space), of unit length.
        label: (batch, *space), class indices; what is below 0 belongs to no class.
        n_classes: Number of classes.

    Returns:
        (classes, C), unit length or 0 for an absent class; and which classes are there.

    Source: our own reading of the abstract of arXiv:2308.04952; masked average pooling of unit features.
    """
    flat = features.float().movedim(1, 0).flatten(1)
    called = label.flatten()
    scored = called >= 0
    index = torch.where(scored, called, torch.zeros_like(called)).long()
    vectors = (flat * scored).T
    sums = torch.zeros(n_classes, flat.shape[0], device=flat.device).index_add(0, index, vectors)
    counts = torch.zeros(n_classes, device=flat.device).index_add(0, index, scored.float())
    return F.normalize(sums / (counts[:, None] + 1e-6), dim=1, eps=1e-12), counts > 0


class KernelUpdate(nn.Module):
    r"""A kernel after it has seen a prototype.

    .. math:: U(k, p) = \hat k + a \odot ((I + W_r)\hat p - \hat k), \qquad
        a = \sigma(W_a [q \odot r; q; r]), \quad q = \mathrm{LN}(W_k \hat k), \; r = \mathrm{LN}(W_p \hat p)

    W_r begins at zero: then U(p, p) is exactly the prototype, which is imprinting.

    Source: our own reading of the abstract of arXiv:2308.04952; gates as in Zhang et al. 2021 (K-Net), arXiv:2106.14855.
    """

    def __init__(self, channels: int) -> None:
        """Build.

        Args:
            channels: C, of features and kernels.
        """
        super().__init__()
        self.of_kernel = nn.Sequential(nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels))
        self.of_prototype = nn.Sequential(nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels))
        self.gate = nn.Linear(3 * channels, channels)
        self.residual = nn.Linear(channels, channels, bias=False)
        nn.init.normal_(self.gate.weight, std=0.01)
        nn.init.zeros_(self.gate.bias)
        nn.init.zeros_(self.residual.weight)

    def opening(self, kernel: Tensor, prototype: Tensor) -> Tensor:
        """The gate a in (0, 1) of unit kernels and prototypes (classes, C): 0 keeps the kernel, 1 takes the prototype."""
        q, r = self.of_kernel(kernel), self.of_prototype(prototype)
        return torch.sigmoid(self.gate(torch.cat([q * r, q, r], dim=-1)))

    def forward(self, kernel: Tensor, prototype: Tensor) -> Tensor:
        """Updated kernels.

        Args:
            kernel: (classes, C), of any length but zero.
            prototype: (classes, C), of any length but zero.

        Returns:
            (classes, C), float32.
        """
        with torch.autocast(kernel.device.type, enabled=False):
            unit, direction = (F.normalize(vector.float(), dim=-1, eps=1e-12) for vector in (kernel, prototype))
            return unit + self.opening(unit, direction) * (direction + self.residual(direction) - unit)
