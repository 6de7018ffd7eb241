"""Two encoders that share nothing: one for what all subjects have, one for what only the diseased have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import DenseNet121, resnet10, resnet18
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from pipelines.cohort_contrast.independence import Eraser
from segsuite.errors import SettingsError, closest_hint

__all__ = ["ENCODERS", "Branch", "Embedding", "TwoBranches", "build_network"]

ENCODERS = ("convolutional", "resnet10", "resnet18", "densenet121", "features")
"""Of volumes; of slices also every encoder of segmentation-models-pytorch, as ``smp:resnet18``."""
TINY = 32
"""Slices with fewer pixels per edge keep their resolution in the first convolution."""


@dataclass(frozen=True)
class Embedding:
    """What the network says of a batch.

    Attributes:
        common: (n, d_c), the common representation.
        salient: (n, d_s), the salient representation.
        common_head: (n, d_c), what the loss sees of it.
        salient_head: (n, d_s), the same; its null point is 0.
    """

    common: Tensor
    salient: Tensor
    common_head: Tensor
    salient_head: Tensor


class Branch(nn.Module):
    """Encoder, bottleneck, head."""

    def __init__(self, encoder: nn.Module, n_features: int, dimensions: int) -> None:
        """Build.

        Args:
            encoder: Images to (n, n_features).
            n_features: Of the encoder.
            dimensions: Of representation and head.
        """
        super().__init__()
        self.encoder = encoder
        self.bottleneck = nn.Linear(n_features, dimensions)
        width = max(64, 4 * dimensions)
        self.head = nn.Sequential(
            nn.Linear(dimensions, width), nn.LayerNorm(width), nn.ReLU(inplace=True), nn.Linear(width, dimensions)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(n, channels, ...) to representation and head, each (n, dimensions)."""
        representation = self.bottleneck(self.encoder(image))
        return representation, self.head(representation)


class TwoBranches(nn.Module):
    """The network. After training, ``erasure`` takes what is common out of the salient representation."""

    def __init__(self, common: Branch, salient: Branch, *, spatial_shape: tuple[int, ...]) -> None:
        """Build.

        Args:
            common: For what all subjects have.
            salient: For what only the diseased have.
            spatial_shape: Of the images that it takes.
        """
        super().__init__()
        self.common, self.salient = common, salient
        self.spatial_shape = spatial_shape
        dimensions = salient.bottleneck.out_features
        self.register_buffer("erasure", torch.eye(dimensions))
        self.register_buffer("null_representation", torch.zeros(dimensions))

    def forward(self, image: Tensor, salient_image: Tensor | None = None) -> Embedding:
        """Both branches.

        Args:
            image: (n, channels, ...), what the common branch sees.
            salient_image: What the salient branch sees; default: the same.

        Returns:
            The embedding.
        """
        common, common_head = self.common(image)
        salient, salient_head = self.salient(image if salient_image is None else salient_image)
        return Embedding(common, self.erased(salient), common_head, salient_head)

    def erased(self, salient: Tensor) -> Tensor:
        """The salient representation about its null point, without what the erasure removes.

        Args:
            salient: (n, d_s), of the bottleneck.

        Returns:
            (n, d_s); healthy subjects stand near 0.
        """
        return (salient - self.null_representation) @ self.erasure.T

    def set_null(self, representation: Tensor, eraser: Eraser | None = None) -> None:
        """Fix the null point, and what is erased.

        Args:
            representation: (d_s,), the mean salient bottleneck of healthy training subjects.
            eraser: Fitted about that point.
        """
        self.null_representation.copy_(representation)
        if eraser is not None:
            self.erasure.copy_(eraser.matrix)

    def forget_null(self) -> None:
        """Undo ``set_null``."""
        self.null_representation.zero_()
        self.erasure.copy_(torch.eye(len(self.erasure)))


def build_network(arguments: Mapping[str, Any]) -> TwoBranches:
    """The network from plain arguments, as ``model.json`` holds them.

    Args:
        arguments: ``encoder`` (see ``ENCODERS``), ``spatial_shape`` (2-D or 3-D), ``in_channels``, ``channels``,
            ``common_dimensions``, ``salient_dimensions``, ``norm``.

    Returns:
        A new network.

    Raises:
        SettingsError: An unknown encoder, or one that does not fit the images.
    """
    shape = tuple(int(n) for n in arguments["spatial_shape"])

    def branch(dimensions: int) -> Branch:
        encoder, n_features = _build_encoder(str(arguments["encoder"]), shape, arguments)
        return Branch(encoder, n_features, dimensions)

    return TwoBranches(
        branch(int(arguments["common_dimensions"])), branch(int(arguments["salient_dimensions"])), spatial_shape=shape
    )


def _build_encoder(name: str, shape: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[nn.Module, int]:
    n_inputs, channels = int(arguments["in_channels"]), [int(n) for n in arguments["channels"]]
    if name == "features":
        return nn.Sequential(nn.Flatten(), nn.Linear(n_inputs * _product(shape), channels[-1]), nn.ReLU()), channels[-1]
    if name == "convolutional":
        return _convolutional(shape, n_inputs, channels, str(arguments["norm"]))
    if name.startswith("smp:") and len(shape) == 2:
        encoder = get_encoder(name.removeprefix("smp:"), in_channels=n_inputs, depth=5, weights=None)
        return nn.Sequential(encoder, _Last(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), int(encoder.out_channels[-1])
    if len(shape) != 3 or name not in ENCODERS:
        raise SettingsError(
            f"`network.encoder` must be one of {ENCODERS} for volumes, or convolutional, features or smp:NAME for slices, got "
            f"`{name}` for images of {len(shape)} axes. {closest_hint(name, ENCODERS)}"
        )
    norm = ("group", {"num_groups": 4}) if arguments["norm"] == "group" else "batch"
    if name == "densenet121":
        dense = DenseNet121(spatial_dims=3, in_channels=n_inputs, out_channels=channels[-1], norm=norm)
        return dense, channels[-1]
    thin = channels[-1] / 512
    build = resnet10 if name == "resnet10" else resnet18
    network = build(
        spatial_dims=3, n_input_channels=n_inputs, feed_forward=False, conv1_t_stride=2, widen_factor=thin, norm=norm,
        shortcut_type="B",
    )  # fmt: skip
    return network, channels[-1]


def _convolutional(shape: tuple[int, ...], n_inputs: int, channels: list[int], norm: str) -> tuple[nn.Module, int]:
    """Convolutions of stride 2 and, at the end, a mean over a coarse grid that keeps where things are."""
    n_axes = len(shape)
    is_tiny = n_axes == 2 and min(shape) < TINY
    convolution = (nn.Conv2d, nn.Conv3d)[n_axes - 2]
    batch_norm = (nn.BatchNorm2d, nn.BatchNorm3d)[n_axes - 2]
    pool = (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[n_axes - 2]
    layers: list[nn.Module] = []
    for before, after in zip([n_inputs, *channels[:-1]], channels, strict=True):
        normalise = batch_norm(after) if norm == "batch" else nn.GroupNorm(4, after)
        layers += [convolution(before, after, 3, stride=1 if is_tiny and before == n_inputs else 2, padding=1)]
        layers += [normalise, nn.ReLU(inplace=True)]
    grid = 4 if n_axes == 2 else 2
    layers += [pool(grid), nn.Flatten()]
    return nn.Sequential(*layers), channels[-1] * grid**n_axes


class _Last(nn.Module):
    """The coarsest of an encoder's feature maps."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return features[-1]


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total
