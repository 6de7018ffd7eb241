"""2-D networks of segmentation-models-pytorch, applied slice by slice behind the interface of the 3-D ones."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.errors import ModelError

__all__ = ["SliceFeatures", "SliceNetwork"]

HALF_DECODER = (128, 96, 64, 48)
"""Widths of the decoder that stops at half of the image's resolution, coarsest first."""
ENCODER_STAGES = 5


class SliceNetwork(nn.Module):
    """A 2-D encoder-decoder that treats the third axis as batch. Weights are never downloaded."""

    def __init__(
        self, *, in_channels: int, out_channels: int, architecture: str, encoder: str, encoder_weights: str | None = None
    ) -> None:
        """Build.

        Args:
            in_channels: Image channels.
            out_channels: Classes, background included.
            architecture: Name in segmentation-models-pytorch, for example ``unet``.
            encoder: Encoder name, for example ``resnet18``.
            encoder_weights: Local file with a plain state dict of the encoder; ``None``: random weights.

        Raises:
            ModelError: The file does not hold this encoder's weights.
        """
        import segmentation_models_pytorch as smp  # loads slowly; 3-D does without

        super().__init__()
        self.network = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=out_channels
        )
        _load_encoder(self.network.encoder, encoder, encoder_weights)

    @property
    def feature_channels(self) -> int:
        """Channels of ``features``."""
        return int(self.network.segmentation_head[0].in_channels)

    def features(self, image: Tensor) -> list[Tensor]:
        """Decoder features of the finest level, as a list of one.

        Args:
            image: (batch, in_channels, i, j, k).

        Returns:
            (batch, channels, ...), enlarged to the image where the decoder is coarser.
        """
        slices = _as_slices(image)
        decoded = cast(Tensor, self.network.decoder(self.network.encoder(slices)))
        if decoded.shape[2:] != slices.shape[2:]:
            decoded = F.interpolate(decoded, size=slices.shape[2:], mode="bilinear", align_corners=False)
        return [_as_volumes(decoded, image)]

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(batch, in_channels, i, j, k) to logits (batch, classes, i, j, k), in a list in training."""
        volume = _as_volumes(cast(Tensor, self.network(_as_slices(image))), image)
        return [volume] if self.training else volume


class SliceFeatures(nn.Module):
    """A 2-D U-Net that stops at half of the image's in-plane resolution, with wide features there."""

    def __init__(self, *, in_channels: int, encoder: str, encoder_weights: str | None = None) -> None:
        """Build.

        Args:
            in_channels: Image channels.
            encoder: Encoder name in segmentation-models-pytorch, for example ``resnet18``.
            encoder_weights: See ``SliceNetwork``.

        Raises:
            ModelError: The file does not hold this encoder's weights.
        """
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
        from segmentation_models_pytorch.encoders import get_encoder

        super().__init__()
        self.encoder = get_encoder(encoder, in_channels=in_channels, depth=ENCODER_STAGES, weights=None)
        self.decoder = UnetDecoder(self.encoder.out_channels, HALF_DECODER, n_blocks=len(HALF_DECODER))
        self.feature_channels = HALF_DECODER[-1]
        _load_encoder(self.encoder, encoder, encoder_weights)

    def features(self, image: Tensor) -> list[Tensor]:
        """Decoder features, as a list of one.

        Args:
            image: (batch, in_channels, i, j, k).

        Returns:
            (batch, channels, i / 2, j / 2, k).
        """
        return [_as_volumes(cast(Tensor, self.decoder(self.encoder(_as_slices(image)))), image)]


def _as_slices(image: Tensor) -> Tensor:
    """(batch, channels, i, j, k) to (batch * k, channels, i, j)."""
    return image.permute(0, 4, 1, 2, 3).flatten(0, 1)


def _as_volumes(slices: Tensor, image: Tensor) -> Tensor:
    """(batch * k, channels, i', j') to (batch, channels, i', j', k)."""
    return slices.unflatten(0, (image.shape[0], image.shape[4])).permute(0, 2, 3, 4, 1)


def _load_encoder(network: nn.Module, name: str, weights: str | None) -> None:
    if weights is None:
        return
    state = torch.load(Path(weights), weights_only=True)
    missing = [key for key in network.state_dict() if key not in state]
    if missing:
        raise ModelError(
            f"{weights} must hold the weights of `{name}`, got a file that lacks {len(missing)} of them, first `{missing[0]}`."
        )
    network.load_state_dict(state)
