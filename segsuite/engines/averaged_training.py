"""What every pipeline's training module does: follow the schedule, average the weights, score whole cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from segsuite.data.cache import PreparedCase
from segsuite.data.datasets import PatchDataset, looked_at
from segsuite.engines.budget import TrainingClock, budget_of
from segsuite.engines.cohort import patch_loader, whole_case_loader
from segsuite.engines.components import Structures, dice_of_prepared, labels_of_prepared
from segsuite.engines.devices import in_fast_layout
from segsuite.engines.inference import WindowInference
from segsuite.engines.processes import Tell
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.schedules import WeightAverage, learning_rate_factor, make_optimiser
from segsuite.engines.training import fit
from segsuite.metrics.per_case import mean_of_scored
from segsuite.seeding import keyed_seed
from segsuite.shapes import LabelMap

__all__ = ["AveragedTraining", "Optimiser", "as_settings_say", "fit_on_patches"]

Optimiser = Callable[[nn.Module], torch.optim.Optimizer]
"""Makes the optimiser of a module's trainable parameters."""


class AveragedTraining(pl.LightningModule):
    """Trains ``network``; ``average`` follows it and is what validation and export use. Subclasses add ``training_step``."""

    clock: TrainingClock

    def __init__(
        self,
        network: nn.Module,
        *,
        optimiser: Optimiser,
        schedule: Callable[[float], float],
        average_decay: float,
        windows: WindowInference,
        structures: Structures,
        seed: int,
    ) -> None:
        """Set up.

        Args:
            network: What is trained.
            optimiser: Makes the optimiser of the trainable parameters.
            schedule: Progress to share of the base learning rate.
            average_decay: Of the weight average.
            windows: For validation.
            structures: Class index to name, or regions of class indices.
            seed: The run's seed.
        """
        super().__init__()
        self.network = in_fast_layout(network)
        self.average = WeightAverage(self.network, decay=average_decay)
        self.optimiser, self.schedule = optimiser, schedule
        self.windows, self.structures, self.seed = windows, structures, seed

    def learning_rate_share(self, progress: float) -> float:
        """Share of the base learning rate at some progress in [0, 1]."""
        return self.schedule(progress)

    def segment(self, case: PreparedCase) -> LabelMap:
        """Class indices (i, j, k) of a whole case by the averaged network."""
        return labels_of_prepared(self.average.module.eval(), case, self.windows, self.structures)[0]

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Patches go to the device, with labels as losses want them; a whole case stays, its windows go one by one.

        The number of a patch stays too: reading it from a GPU would wait for all that the GPU has to do.
        """
        if isinstance(batch, PreparedCase):
            return batch
        views, index = batch.get("view"), batch["index"]
        rest = {name: value for name, value in batch.items() if name not in ("view", "index")}
        there = super().transfer_batch_to_device(rest, device, dataloader_idx)
        if views is not None:
            there |= looked_at(there["image"], there["label"], views)
        return {**there, "label": there["label"].long(), "index": index}

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Set the learning rate, and what dropout draws: a function of the step, so that a resumed training goes on equally."""
        torch.manual_seed(keyed_seed(self.seed, "step", self.global_step, self.global_rank))
        factor = self.learning_rate_share(self.clock.progress(self.global_step))
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group["initial_lr"] * factor

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        """Let the average follow."""
        self.average.update_parameters(self.network)

    def validation_step(self, case: PreparedCase, case_index: int) -> None:
        """Dice of one whole case, by the same windows and the same metric as evaluation."""
        scores = dice_of_prepared(self.segment(case), case, self.structures)
        self.log("validation_dice", mean_of_scored(list(scores.values())), on_epoch=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of what is trained only; the average has no gradients."""
        optimiser = self.optimiser(self)
        for group in optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        return optimiser

    def log_terms(self, terms: dict[str, Tensor]) -> None:
        """Log the parts of a loss, once a step.

        Args:
            terms: Name to scalar.
        """
        for name, value in terms.items():
            self.log(name, value.detach(), on_step=True, on_epoch=False)


def as_settings_say(training: Mapping[str, Any]) -> dict[str, Any]:
    """Optimiser, schedule and average for ``AveragedTraining``.

    Args:
        training: A pipeline's settings group ``training`` as plain values.

    Returns:
        Keyword arguments.
    """

    def optimiser(module: nn.Module) -> torch.optim.Optimizer:
        return make_optimiser(
            module.parameters(),
            kind=training["optimiser"],
            learning_rate=training["learning_rate"],
            weight_decay=training["weight_decay"],
        )

    schedule = partial(learning_rate_factor, schedule=training["schedule"], warmup=training["warmup"])
    return {"optimiser": optimiser, "schedule": schedule, "average_decay": training["average_decay"]}


def fit_on_patches(
    module: AveragedTraining,
    patches: PatchDataset,
    validation: Sequence[PreparedCase],
    run: RunFolder,
    *,
    training: Mapping[str, Any],
    batch_size: int,
    workers: int,
    tell: Tell,
    doing: Callable[[], str],
) -> float:
    """Train on patches, validate on whole cases, as long as the settings allow; resumes.

    Args:
        module: To train.
        patches: Without end.
        validation: Held-out cases; may be none.
        run: Where checkpoints and history go.
        training: A pipeline's settings group ``training`` as plain values.
        batch_size: Patches per step and device.
        workers: Loader processes.
        tell: Told how far it is.
        doing: What is being done, asked for each time.

    Returns:
        Minutes used.
    """
    return fit(
        module,
        patch_loader(patches, batch_size=batch_size, steps_per_epoch=training["steps_per_epoch"], workers=workers),
        whole_case_loader(validation) if validation else None,
        run,
        budget=budget_of(training),
        device=module.windows.device,
        precision=module.windows.precision,
        seed=module.seed,
        clip_norm=training["clip_norm"],
        compiled=training["compiled"],
        on_progress=lambda step, share, numbers: tell(f"{doing()}, step {step}", share, **numbers),
    )
