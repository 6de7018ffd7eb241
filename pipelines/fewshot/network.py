"""Features of unit length and one kernel per class: cosine for the base classes, a linear rule for each new structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.fewshot.kernels import Kernel
from segsuite.errors import ModelError
from segsuite.networks.encoders import SliceNetwork
from segsuite.networks.unet import UNet

__all__ = ["KernelNetwork", "OpenNetwork", "build_network", "cosine_logits", "thinned"]

SCALE = 10.0
EXTRACTORS: dict[str, type[nn.Module]] = {"unet": UNet, "slice_network": SliceNetwork}


class KernelNetwork(nn.Module):
    """A feature extractor, and kernels of background, base classes and pseudo-anatomy.

    The extractor's two finest decoder levels are brought together by one linear layer without activation, so that
    features may be negative. Source: one learnable kernel per class: abstract of Huang et al. 2023, arXiv:2308.04952; the
    rest is our own.
    """

    def __init__(self, *, extractor: Mapping[str, Any], n_base: int, n_regions: int, feature_channels: int) -> None:
        """Build.

        Args:
            extractor: ``kind`` (``unet`` or ``slice_network``) and the arguments of that network.
            n_base: Base classes, without background.
            n_regions: Pseudo-anatomical regions that are learned beside them; 0: none.
            feature_channels: C.

        Raises:
            ModelError: Unknown kind of extractor.
        """
        super().__init__()
        arguments = dict(extractor)
        kind = arguments.pop("kind", None)
        if kind not in EXTRACTORS:
            raise ModelError(f"The extractor's kind must be one of {sorted(EXTRACTORS)}, got `{kind}`.")
        self.extractor = EXTRACTORS[kind](**arguments)
        widths = [int(self.extractor.feature_channels)]  # type: ignore[arg-type]
        if kind == "unet":
            self.extractor.heads = nn.ModuleList()  # the kernels take their place
            widths = [int(n) for n in arguments["channels"][: min(2, len(arguments["channels"]) - 1)]]
        self.n_base, self.n_regions = n_base, n_regions
        self.project = nn.Conv3d(sum(widths), feature_channels, 1)
        self.kernels = nn.Parameter(torch.randn(1 + n_base, feature_channels))
        self.regions = nn.Parameter(torch.randn(n_regions, feature_channels))

    def features(self, image: Tensor) -> Tensor:
        """Features of unit length.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, C, i, j, k), float32.
        """
        levels = self.extractor.features(image)[:2]  # type: ignore[operator]
        size = levels[0].shape[2:]
        same = [levels[0], *(F.interpolate(level, size=size, mode="nearest") for level in levels[1:])]
        return F.normalize(self.project(torch.cat(same, dim=1)).float(), dim=1, eps=1e-12)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of background and base classes, and of base classes and regions.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, 1 + base, i, j, k), and (batch, base + regions, ...) of every second voxel along i and j.
        """
        features = self.features(image)
        base = cosine_logits(features, self.kernels)
        return base, cosine_logits(thinned(features), torch.cat([self.kernels[1:], self.regions]))


class OpenNetwork(nn.Module):
    """What prediction applies: base probabilities that no registration changes, then one probability per new structure."""

    def __init__(self, network: KernelNetwork) -> None:
        """Wrap; without new structures until ``register_kernels``.

        Args:
            network: The trained network.
        """
        super().__init__()
        self.network = network
        size = network.kernels.shape[1]
        self.register_buffer("weights", torch.zeros(0, size), persistent=False)
        self.register_buffer("thresholds", torch.zeros(0), persistent=False)
        self.register_buffer("gains", torch.zeros(0), persistent=False)

    def register_kernels(self, kernels: Sequence[Kernel]) -> None:
        """Take up the kernels of new structures, in place of those before.

        Args:
            kernels: In the order of the output's channels.

        Raises:
            ModelError: Kernels for features of another size.
        """
        size = self.network.kernels.shape[1]
        for kernel in kernels:
            if len(kernel.weight) != size:
                raise ModelError(f"New structures must have kernels of {size} features, got {len(kernel.weight)}.")
        device = self.network.kernels.device
        rows = [torch.from_numpy(kernel.weight).float() for kernel in kernels]
        self.weights = (torch.stack(rows) if rows else torch.zeros(0, size)).to(device)
        self.thresholds = torch.tensor([kernel.threshold for kernel in kernels], dtype=torch.float32, device=device)
        self.gains = torch.tensor([kernel.gain for kernel in kernels], dtype=torch.float32, device=device)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, 1 + base + new, i, j, k): a softmax over background and base classes, then for each new structure the
            probability that it is there rather than background.
        """
        features = self.network.features(image)
        base = cosine_logits(features, self.network.kernels).softmax(dim=1)
        if not len(self.weights):
            return base
        scores = torch.einsum("bcijk,nc->bnijk", features, self.weights)
        shape = (1, -1, 1, 1, 1)
        return torch.cat([base, ((scores - self.thresholds.view(shape)) * self.gains.view(shape)).sigmoid()], dim=1)


def thinned(volume: Tensor) -> Tensor:
    """Every second voxel along i and j: regions are large, and there are many of them.

    Args:
        volume: (..., i, j, k).

    Returns:
        A view.
    """
    return volume[..., ::2, ::2, :]


def cosine_logits(features: Tensor, kernels: Tensor) -> Tensor:
    r"""Cosine of every feature with every kernel, times s = 10.

    .. math:: z_c(x) = s \langle k_c / |k_c|, \hat f(x) \rangle

    Args:
        features: (batch, C, i, j, k), of unit length.
        kernels: (classes, C), of any length but zero.

    Returns:
        (batch, classes, i, j, k).

    Source: scale 10 as in Tian et al. 2022 (CAPL), arXiv:2010.05210, and Cermelli et al. 2020, arXiv:2012.01415.
    """
    return SCALE * torch.einsum("bcijk,nc->bnijk", features, F.normalize(kernels.float(), dim=1, eps=1e-12))


def build_network(arguments: dict[str, Any]) -> OpenNetwork:
    """A network with fresh weights, ready for prediction.

    Args:
        arguments: Of ``KernelNetwork``, from ``model.json``.

    Returns:
        The network; ``.network`` is what is trained.
    """
    return OpenNetwork(KernelNetwork(**arguments))
