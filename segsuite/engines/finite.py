"""A loss that is no number stops a training where it appears, before a checkpoint can hold what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from segsuite.errors import TrainingError

__all__ = ["StopAtNonFinite"]

STEPS_BETWEEN_LOOKS = 20
"""On a GPU, whose every look is a wait; on a CPU each step is looked at."""


class StopAtNonFinite(pl.Callback):
    """Ends a training at the first loss that is no number, before a checkpoint can hold what it does to the weights."""

    def __init__(self, training: DataLoader[Any]) -> None:
        """Set up.

        Args:
            training: Whose ``dataset`` may know the case of a patch (``case_of``).
        """
        self.dataset = training.dataset
        self.unseen: list[tuple[int, Tensor, Tensor | None]] = []
        self.index: Tensor | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember which patches are in hand."""
        self.index = batch.get("index") if isinstance(batch, Mapping) else None

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look at the loss, or remember it."""
        self.unseen.append((trainer.global_step, loss.detach(), self.index))
        if loss.device.type == "cpu" or len(self.unseen) >= STEPS_BETWEEN_LOOKS:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the rest, and at what the last step made, before the epoch's checkpoint is written."""
        self._look(trainer)
        sums = [weights.detach().sum() for weights in pl_module.parameters() if weights.requires_grad]
        if sums and not bool(torch.isfinite(torch.stack(sums)).all()):
            raise TrainingError(
                f"The weights must be numbers, got others after step {trainer.global_step}{self._cases(self.index)}. "
                "The last checkpoint is from before it. Take a smaller learning rate."
            )

    def _look(self, trainer: pl.Trainer) -> None:
        unseen, self.unseen = self.unseen, []
        if not unseen or bool(torch.isfinite(torch.stack([loss for _, loss, _ in unseen])).all()):
            return
        step, loss, index = next(entry for entry in unseen if not bool(torch.isfinite(entry[1])))
        raise TrainingError(
            f"The loss must be a number, got {float(loss):g} at step {step}{self._cases(index)}. The last checkpoint is from "
            "before it. Look for voxels that are no numbers with `segsuite manifest check`, or take a smaller learning rate."
        )

    def _cases(self, index: Tensor | None) -> str:
        case_of = getattr(self.dataset, "case_of", None)
        if index is None or case_of is None:
            return ""
        names = dict.fromkeys(case_of(int(number)).case.case_id for number in index.flatten())
        return f", with the cases {', '.join(names)} in hand"
