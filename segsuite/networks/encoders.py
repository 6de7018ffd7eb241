"""2-D networks of segmentation-models-pytorch, applied slice by slice behind the interface of the 3-D ones."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segsuite.errors import ModelError

__all__ = ["SliceNetwork"]


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
        if encoder_weights is not None:
            state = torch.load(Path(encoder_weights), weights_only=True)
            missing = [name for name in self.network.encoder.state_dict() if name not in state]
            if missing:
                raise ModelError(
                    f"{encoder_weights} must hold the weights of `{encoder}`, got a file that lacks "
                    f"{len(missing)} of them, first `{missing[0]}`."
                )
            self.network.encoder.load_state_dict(state)

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
        batch, _, height, width, depth = image.shape
        slices = image.permute(0, 4, 1, 2, 3).reshape(batch * depth, -1, height, width)
        decoded = cast(Tensor, self.network.decoder(self.network.encoder(slices)))
        if decoded.shape[2:] != slices.shape[2:]:
            decoded = F.interpolate(decoded, size=(height, width), mode="bilinear", align_corners=False)
        return [decoded.reshape(batch, depth, -1, height, width).permute(0, 2, 3, 4, 1)]

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(batch, in_channels, i, j, k) to logits (batch, classes, i, j, k), in a list in training."""
        batch, _, height, width, depth = image.shape
        slices = image.permute(0, 4, 1, 2, 3).reshape(batch * depth, -1, height, width)
        logits = cast(Tensor, self.network(slices))
        volume = logits.reshape(batch, depth, -1, height, width).permute(0, 2, 3, 4, 1)
        return [volume] if self.training else volume
