"""The plain U-Net of nnU-Net: strided encoder, transposed-convolution decoder, logits at every resolution for training.

Written here and not taken from MONAI's DynUNet because the coarse heads stay coarse (DynUNet enlarges and stacks them
at full resolution), and because nothing in it depends on the run's settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segsuite.errors import SettingsError
from segsuite.networks.blocks import ConvolutionPair, StepUp
from segsuite.shapes import Size

__all__ = ["UNet", "count_parameters", "least_multiple"]


class UNet(nn.Module):
    """U-Net for volumes; in ``train`` mode it returns logits of several resolutions, in ``eval`` mode the finest.

    Source: Ronneberger et al., MICCAI 2015, arXiv:1505.04597; Isensee et al., Nature Methods 2021.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        n_supervised: int = 3,
    ) -> None:
        """Build.

        Args:
            in_channels: Image channels.
            out_channels: Classes, background included.
            channels: Feature channels per stage, finest first.
            kernels: Kernel size per stage.
            strides: Stride into each stage; the first must be (1, 1, 1).
            n_supervised: Resolutions that get logits in training, at most one less than the stages.

        Raises:
            SettingsError: Lists of different length, or a first stride that is not one.
        """
        super().__init__()
        if not (len(channels) == len(kernels) == len(strides) >= 2) or tuple(strides[0]) != (1, 1, 1):
            raise SettingsError(
                "A U-Net must have one kernel and one stride per stage, at least two stages and first stride (1, 1, 1), "
                f"got channels {list(channels)}, kernels {list(kernels)}, strides {list(strides)}."
            )
        widths = [in_channels, *channels]
        self.encoder = nn.ModuleList(
            ConvolutionPair(widths[n], widths[n + 1], kernel=tuple(kernels[n]), stride=tuple(strides[n]))
            for n in range(len(channels))
        )
        self.decoder = nn.ModuleList(
            StepUp(channels[n + 1], channels[n], kernel=tuple(kernels[n]), stride=tuple(strides[n + 1]))
            for n in reversed(range(len(channels) - 1))
        )
        supervised = range(min(max(1, n_supervised), len(channels) - 1))
        self.heads = nn.ModuleList(nn.Conv3d(channels[n], out_channels, 1) for n in supervised)
        self.feature_channels = int(channels[0])

    def leave_out_finest(self, n: int) -> None:
        """Give up decoder steps whose features nobody wants: no weights, no time. ``features`` then begins at a coarser level.

        Args:
            n: How many; fewer than there are.
        """
        self.decoder = self.decoder[: len(self.decoder) - n]

    def features(self, image: Tensor) -> list[Tensor]:
        """Decoder features of every resolution, finest first.

        Args:
            image: (batch, in_channels, i, j, k), each size a multiple of ``least_multiple``.

        Returns:
            One tensor (batch, channels, ...) per decoder level.
        """
        skips = []
        for stage in self.encoder:
            image = stage(image)
            skips.append(image)
        levels = []
        for step, skip in zip(self.decoder, reversed(skips[:-1]), strict=False):
            image = step(image, skip)
            levels.append(image)
        return levels[::-1]

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits: a list, finest first, in training; the finest alone otherwise."""
        levels = self.features(image)
        if not self.training:
            finest: Tensor = self.heads[0](levels[0])
            return finest
        return [head(level) for head, level in zip(self.heads, levels, strict=False)]


def least_multiple(strides: Sequence[Sequence[int]]) -> Size:
    """What every patch size must be a multiple of.

    Args:
        strides: Stride into each stage.

    Returns:
        Product of the strides per axis.
    """
    multiple = [1, 1, 1]
    for stride in strides:
        multiple = [a * b for a, b in zip(multiple, stride, strict=True)]
    return tuple(multiple)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
