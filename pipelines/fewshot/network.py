"""Features of unit length and one kernel per class: cosine for the base classes, a linear rule for each new structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.fewshot.bias import conditional_bias
from pipelines.fewshot.foreground import ForegroundHead
from pipelines.fewshot.kernels import Kernel
from pipelines.fewshot.update import KernelUpdate, pooled_prototypes
from segsuite.errors import ModelError
from segsuite.networks.encoders import SliceFeatures, SliceNetwork
from segsuite.networks.unet import UNet

__all__ = [
    "Bias",
    "KernelNetwork",
    "OpenNetwork",
    "build_network",
    "cosine_logits",
    "enlarged",
    "reduced",
    "thinned",
    "updated_kernels",
]

SCALE = 10.0
PSEUDO_NEW = 0.5
EXTRACTORS: dict[str, type[nn.Module]] = {"unet": UNet, "slice_network": SliceNetwork, "slice_features": SliceFeatures}


class KernelNetwork(nn.Module):
    """A feature extractor, and kernels of background, base classes and pseudo-anatomy.

    The extractor's two finest decoder levels are brought together by one linear layer without activation, so that
    features may be negative. Training is done at their resolution; for prediction they are enlarged to the image.

    Source: one learnable kernel per class: abstract of Huang et al. 2023, arXiv:2308.04952; the rest is our own.
    """

    def __init__(
        self,
        *,
        extractor: Mapping[str, Any],
        n_base: int,
        n_regions: int,
        feature_channels: int,
        update: bool = False,
        foreground: bool = False,
        first_level: int = 0,
    ) -> None:
        """Build.

        Args:
            extractor: ``kind`` (``unet``, ``slice_network`` or ``slice_features``) and the arguments of that network.
            n_base: Base classes, without background.
            n_regions: Pseudo-anatomical regions that are learned beside them; 0: none.
            feature_channels: C.
            update: Have a gate that makes kernels from prototypes.
            foreground: Have a branch that finds objects of any class.
            first_level: Of a ``unet``: the finest decoder level that there is; 1 leaves out that of the image's resolution.

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
            widths = [int(n) for n in arguments["channels"][:-1][first_level : first_level + 2]]
            if not widths:
                raise ModelError(
                    f"A network must have more than {len(arguments['channels'])} stages for features at half resolution."
                )
            self.extractor.leave_out_finest(first_level)  # type: ignore[operator]
        self.n_base, self.n_regions = n_base, n_regions
        self.project = nn.Conv3d(sum(widths), feature_channels, 1)
        self.kernels = nn.Parameter(torch.randn(1 + n_base, feature_channels))
        self.regions = nn.Parameter(torch.randn(n_regions, feature_channels))
        self.update = KernelUpdate(feature_channels) if update else None
        self.foreground = ForegroundHead(sum(widths), feature_channels) if foreground else None

    def levels(self, image: Tensor) -> Tensor:
        """What the extractor sees, before the projection.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, channels of its finest levels, i', j', k'), where i', j', k' are those of the finest that is used.
        """
        levels = self.extractor.features(image)[:2]  # type: ignore[operator]
        size = levels[0].shape[2:]
        return torch.cat([levels[0], *(F.interpolate(level, size=size, mode="nearest") for level in levels[1:])], dim=1)

    def unit(self, levels: Tensor) -> Tensor:
        """Features of unit length.

        Args:
            levels: As ``levels`` gives them.

        Returns:
            (batch, C, i', j', k'), float32.
        """
        return F.normalize(self.project(levels).float(), dim=1, eps=1e-12)

    def features(self, image: Tensor) -> Tensor:
        """An image (batch, channels, i, j, k) to features of unit length for each of its voxels, (batch, C, i, j, k)."""
        return self.unit_of_voxels(self.levels(image), image)

    def unit_of_voxels(self, levels: Tensor, image: Tensor) -> Tensor:
        """Features of unit length for each voxel of an image.

        Args:
            levels: As ``levels`` gives them.
            image: (batch, channels, i, j, k).

        Returns:
            (batch, C, i, j, k), float32.
        """
        found = self.unit(levels)
        return found if found.shape[2:] == image.shape[2:] else F.normalize(enlarged(found, image), dim=1, eps=1e-12)


@dataclass(frozen=True)
class Bias:
    """See ``conditional_bias``."""

    kind: str = "off"
    threshold: float = 0.5
    size: float = 1.0


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
        self.register_buffer("base_kernels", None, persistent=False)
        self.parts: tuple[int, ...] = ()
        self.bias = Bias()

    def register_kernels(self, kernels: Sequence[Kernel], *, bias: Bias | None = None, base: Tensor | None = None) -> None:
        """Take up the kernels of new structures, in place of those before.

        Args:
            kernels: In the order of the output's channels.
            bias: In favour of new structures; ``None``: none.
            base: Other kernels of background and base classes, for peers that move them; ``None``: those of training.

        Raises:
            ModelError: Kernels for features of another size, or a bias by a foreground that the model does not have.
        """
        size = self.network.kernels.shape[1]
        for kernel in kernels:
            if kernel.weights.shape[1] != size:
                raise ModelError(f"New structures must have kernels of {size} features, got {kernel.weights.shape[1]}.")
        self.bias = bias or Bias()
        if self.bias.kind in ("hard", "soft") and self.network.foreground is None:
            raise ModelError(
                f"A bias of kind `{self.bias.kind}` must have a model with a foreground branch, got one without. "
                "Train with `foreground.weight=1`, or use `bias=off`."
            )
        device = self.network.kernels.device
        rows = [torch.from_numpy(kernel.weights).float() for kernel in kernels]
        self.parts = tuple(len(row) for row in rows)
        self.weights = (torch.cat(rows) if rows else torch.zeros(0, size)).to(device)
        self.thresholds = torch.tensor([kernel.threshold for kernel in kernels], dtype=torch.float32, device=device)
        self.gains = torch.tensor([kernel.gain for kernel in kernels], dtype=torch.float32, device=device)
        self.base_kernels = None if base is None else base.float().to(device)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities.

        Args:
            image: (batch, channels, i, j, k).

        Returns:
            (batch, 1 + base + new, i, j, k): a softmax over background and base classes, then for each new structure the
            probability that it is there rather than background; then, where the model has a foreground branch, the
            probability of an object that no base class took.
        """
        levels = self.network.levels(image)
        features = self.network.unit_of_voxels(levels, image)
        base = cosine_logits(features, self.network.kernels if self.base_kernels is None else self.base_kernels).softmax(dim=1)
        outputs = [base]
        object_odds = None
        if self.network.foreground is not None:
            object_odds = enlarged(self.network.foreground(levels, self.network.kernels[1:]), image)
        if self.parts:
            shape = (1, -1, 1, 1, 1)
            scores = torch.einsum("bcijk,nc->bnijk", features, self.weights)
            if max(self.parts) > 1:
                scores = torch.cat([part.amax(dim=1, keepdim=True) for part in scores.split(self.parts, dim=1)], dim=1)
            margins = (scores - self.thresholds.view(shape)) * self.gains.view(shape)
            if self.bias.kind != "off":
                odds = torch.zeros_like(base[:, :1]) if object_odds is None else object_odds
                bias = self.bias
                margins = margins + conditional_bias(base, odds, kind=bias.kind, threshold=bias.threshold, size=bias.size)
            outputs.append(margins.sigmoid())
        if object_odds is not None:
            outputs.append(object_odds.sigmoid() * base[:, :1])
        return torch.cat(outputs, dim=1) if len(outputs) > 1 else base


def updated_kernels(update: KernelUpdate, kernels: Tensor, features: Tensor, label: Tensor, *, first: int) -> Tensor:
    """Kernels as an episode makes them: half of the classes that the batch shows play new ones, U(p, p); the others U(k, p).

    Args:
        update: The gate.
        kernels: (classes, C).
        features: Of the whole batch, (batch, C, *space), of unit length; its first half are the episode's supports.
        label: (batch, *space), class indices, -1 for none.
        first: Classes before it are no objects (background): they, like absent ones, become U(k, k).

    Returns:
        (classes, C).

    Source: our own; pseudo-new and context classes as in Tian et al. 2022 (CAPL), arXiv:2010.05210.
    """
    half = max(1, len(features) // 2)
    prototypes, present = pooled_prototypes(features[:half], label[:half], len(kernels))
    present = present & (torch.arange(len(kernels), device=kernels.device) >= first)
    plays_new = present & (torch.rand(len(kernels), device=kernels.device) < PSEUDO_NEW)
    old = F.normalize(kernels.float(), dim=1, eps=1e-12)
    return update(
        torch.where(plays_new[:, None], prototypes, old),
        torch.where(present[:, None], prototypes, old),
    )


def enlarged(volume: Tensor, image: Tensor) -> Tensor:
    """A volume of coarser voxels interpolated to the size of an image.

    Args:
        volume: (batch, channels, i', j', k').
        image: (batch, any, i, j, k).

    Returns:
        (batch, channels, i, j, k).
    """
    if volume.shape[2:] == image.shape[2:]:
        return volume
    return F.interpolate(volume, size=image.shape[2:], mode="trilinear", align_corners=False)


def reduced(label: Tensor, features: Tensor) -> Tensor:
    """Labels at the voxels of coarser features: the nearest of each.

    Args:
        label: (batch, i, j, k), integers.
        features: (batch, channels, i', j', k').

    Returns:
        (batch, i', j', k').
    """
    if label.shape[1:] == features.shape[2:]:
        return label
    return F.interpolate(label[:, None].float(), size=features.shape[2:], mode="nearest-exact")[:, 0].to(label.dtype)


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
