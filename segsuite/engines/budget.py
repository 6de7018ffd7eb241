"""When a training ends, and how far it is, over restarts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytorch_lightning as pl

__all__ = ["Budget", "TrainingClock", "budget_of"]

LONG_MINUTES = 5
LONG_STEPS = 1000


@dataclass(frozen=True)
class Budget:
    """When a training ends: at the first of its limits.

    Attributes:
        max_steps: Optimiser steps; ``None``: no limit.
        max_minutes: Minutes of training, validation included; ``None``: no limit.
        steps_per_epoch: Steps between checkpoints.
        epochs_per_validation: Epochs between validations of whole cases; 0: only at the end.
        patience: Validations without a better score before stopping; 0: never.
        target: Validation score that is good enough to stop; ``None``: none is.
    """

    max_steps: int | None
    max_minutes: float | None
    steps_per_epoch: int
    epochs_per_validation: int
    patience: int = 0
    target: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether half a minute of compiling pays."""
        minutes, steps = self.max_minutes or math.inf, self.max_steps or math.inf
        return minutes >= LONG_MINUTES and steps >= LONG_STEPS


def budget_of(training: Mapping[str, Any]) -> Budget:
    """The budget that a pipeline's settings name.

    Args:
        training: The group ``training`` as plain values.

    Returns:
        The budget.
    """
    return Budget(**{field.name: training[field.name] for field in fields(Budget) if field.name in training})


class TrainingClock(pl.Callback):
    """Knows how far the training is, over restarts, and stops it when its minutes are used up."""

    def __init__(self, budget: Budget) -> None:
        """Set up.

        Args:
            budget: The limits.
        """
        self.budget = budget
        self.seconds_before = 0.0
        self.started = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes used, over all starts of this run."""
        return (self.seconds_before + time.monotonic() - self.started) / 60

    def progress(self, step: int) -> float:
        """Share of the budget that is used, in [0, 1].

        Args:
            step: Optimiser steps done.
        """
        by_steps = step / self.budget.max_steps if self.budget.max_steps else 0.0
        by_time = self.minutes / self.budget.max_minutes if self.budget.max_minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting when the first step does, not when data is prepared."""
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Stop when the time is over."""
        if self.budget.max_minutes is not None and self.minutes >= self.budget.max_minutes:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"seconds": self.minutes * 60}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on counting from a checkpoint."""
        self.seconds_before = state_dict["seconds"]
