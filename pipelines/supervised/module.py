"""The training step, the average of the weights, and validation on whole cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from segsuite.data.augmentation import IntensityAugmentation, augment_batch
from segsuite.data.cache import PreparedCase
from segsuite.engines.components import dice_of_prepared
from segsuite.engines.devices import in_fast_layout
from segsuite.engines.inference import WindowInference, argmax_rows, predict_rows
from segsuite.engines.schedules import averaged_copy
from segsuite.engines.training import TrainingClock
from segsuite.metrics.per_case import mean_of_scored
from segsuite.seeding import keyed_seed

__all__ = ["SupervisedModule"]

Optimiser = Callable[[nn.Module], torch.optim.Optimizer]
Loss = Callable[[list[Tensor], Tensor], Tensor]


class SupervisedModule(pl.LightningModule):
    """Trains ``network``; ``average`` follows it and is what validation and export use."""

    clock: TrainingClock

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: Loss,
        optimiser: Optimiser,
        schedule: Callable[[float], float],
        average_decay: float,
        augmentation: IntensityAugmentation,
        windows: WindowInference,
        structures: dict[int, str],
        seed: int,
    ) -> None:
        """Set up.

        Args:
            network: Returns logits of several resolutions in training.
            loss: Logits per resolution and label to a scalar.
            optimiser: Makes the optimiser of the network's parameters.
            schedule: Progress to share of the base learning rate.
            average_decay: Of the weight average.
            augmentation: Of intensities, and mirroring.
            windows: For validation.
            structures: Class index to name.
            seed: The run's seed.
        """
        super().__init__()
        self.network = in_fast_layout(network)
        self.average = averaged_copy(self.network, decay=average_decay)
        self.loss, self.optimiser, self.schedule = loss, optimiser, schedule
        self.augmentation, self.windows, self.structures, self.seed = augmentation, windows, structures, seed

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Dice plus cross-entropy of one batch."""
        image, label = augment_batch(
            batch["image"], batch["label"], self.augmentation, seed=keyed_seed(self.seed, "batch", int(batch["index"][0]))
        )
        levels = self.network(image.contiguous(memory_format=torch.channels_last_3d))
        loss = self.loss(levels, label)
        self.log("loss", loss, on_step=True, on_epoch=False)
        return loss

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Patches go to the device; a whole case stays, its windows go one by one."""
        if isinstance(batch, PreparedCase):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Set the learning rate for how far the training is."""
        factor = self.schedule(self.clock.progress(self.global_step))
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group["initial_lr"] * factor

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Let the average follow."""
        self.average.update_parameters(self.network)

    def validation_step(self, case: PreparedCase, case_index: int) -> None:
        """Dice of one whole case, by the same windows and the same metric as evaluation."""
        predicted = argmax_rows(predict_rows(self.average.module.eval(), np.asarray(case.image), self.windows))
        scores = dice_of_prepared(predicted, case, self.structures)
        self.log("validation_dice", mean_of_scored(list(scores.values())), on_epoch=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the trained network only; the average has no gradients."""
        optimiser = self.optimiser(self.network)
        for group in optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return optimiser
