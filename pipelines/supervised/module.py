"""The training step: augment a batch, predict at several resolutions, Dice plus cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.engines.averaged_training import AveragedTraining
from segsuite.seeding import keyed_seed

__all__ = ["SupervisedModule"]

Loss = Callable[[list[Tensor], Tensor], Tensor]


class SupervisedModule(AveragedTraining):
    """Trains a network that returns logits of several resolutions."""

    def __init__(self, network: nn.Module, *, loss: Loss, augmentation: IntensityAugmentation, **training: Any) -> None:
        """Set up.

        Args:
            network: Returns logits of several resolutions in training.
            loss: Logits per resolution and label to a scalar.
            augmentation: Of intensities, and mirroring.
            **training: See ``AveragedTraining``.
        """
        super().__init__(network, **training)
        self.loss, self.augmentation = loss, augmentation

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Dice plus cross-entropy of one batch."""
        image, label = augment_batch(
            batch["image"], batch["label"], self.augmentation, seed=keyed_seed(self.seed, "batch", int(batch["index"][0]))
        )
        levels = self.network(image.contiguous(memory_format=torch.channels_last_3d))
        loss = self.loss(levels, label)
        self.log("loss", loss, on_step=True, on_epoch=False)
        return loss
