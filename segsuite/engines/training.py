"""Fit a module with Lightning so that it stops in time, survives a kill, and goes on to the same weights.

What makes a resumed run equal to an unbroken one: every patch is a function of its number (``data.datasets``), every
epoch of its number (``data.samplers``), and ``engines.checkpoints`` tells the sampler where to go on before a loader draws.
"""

from __future__ import annotations

import csv
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from segsuite.engines.allocator import keep_freed_memory
from segsuite.engines.budget import Budget, TrainingClock
from segsuite.engines.checkpoints import AtomicCheckpoints, Checkpoints, unfinished_checkpoint
from segsuite.engines.devices import set_threads
from segsuite.engines.finite import StopAtNonFinite
from segsuite.engines.processes import local_world_size, world_size
from segsuite.engines.run_folder import RunFolder
from segsuite.files import write_text
from segsuite.networks.normalisation import InstanceNorm
from segsuite.seeding import seed_libraries

__all__ = ["fit"]

SECONDS_BETWEEN_REPORTS = 0.5


class History(pl.Callback):
    """Writes ``history.csv`` (step, minutes, name, value) as it happens and reports progress to the caller."""

    def __init__(self, path: Path, clock: TrainingClock, on_progress: Callable[[int, float, dict[str, float]], None] | None):
        """Set up.

        Args:
            path: CSV file.
            clock: For minutes and progress.
            on_progress: Called with step, share of the budget, and the newest numbers.
        """
        self.path, self.clock, self.on_progress = path, clock, on_progress
        self.latest: dict[str, float] = {}
        self.steps_in_file = -1
        self.has_validated = False
        self.told = 0.0
        self.since = self.epoch_began = self.waited = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An epoch that a checkpoint goes on within has no start of its own."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to watch the time that goes by between steps: the network waits for data."""
        self.since = self.epoch_began = time.monotonic()
        self.waited = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """The batch is here."""
        self.waited += time.monotonic() - self.since

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember that the validation numbers are new: Lightning keeps showing the old ones."""
        self.has_validated = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Report progress, twice a second at most: reading the loss makes a GPU wait."""
        self.since = time.monotonic()
        if self.on_progress is None or not trainer.is_global_zero or time.monotonic() - self.told < SECONDS_BETWEEN_REPORTS:
            return
        self.told = time.monotonic()
        if "loss" in trainer.callback_metrics:
            self.latest["loss"] = float(trainer.callback_metrics["loss"])
        self.on_progress(trainer.global_step, self.clock.progress(trainer.global_step), dict(self.latest))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's numbers once."""
        step = trainer.global_step
        self.latest = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values = {name: v for name, v in self.latest.items() if self.has_validated or not name.startswith("validation")}
        values["data_wait_share"] = self.waited / max(self.since - self.epoch_began, 1e-9)
        self.has_validated = False
        if not trainer.is_global_zero or step <= self.steps_in_file:
            return
        self.steps_in_file = step
        is_new = not self.path.is_file()
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if is_new:
                writer.writerow(("step", "minutes", "name", "value"))
            for name, value in values.items():
                writer.writerow((step, f"{self.clock.minutes:.3f}", name, f"{value:.6g}"))

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"steps_in_file": self.steps_in_file}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the checkpoint; what a kill left in the file beyond it will come again."""
        self.steps_in_file = state_dict["steps_in_file"]
        if self.path.is_file():
            head, *rows = self.path.read_text(encoding="utf-8").splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= self.steps_in_file]
            write_text(self.path, "\n".join([head, *kept]) + "\n")


def fit(
    module: pl.LightningModule,
    training: DataLoader[Any],
    validation: DataLoader[Any] | None,
    run: RunFolder,
    *,
    budget: Budget,
    device: torch.device,
    precision: torch.dtype,
    seed: int,
    clip_norm: float,
    compiled: bool | None = None,
    on_progress: Callable[[int, float, dict[str, float]], None] | None = None,
) -> float:
    """Train until the budget ends, resuming from the run's last checkpoint if there is one.

    Args:
        module: Must read ``module.clock`` for its schedule if it has one; gets it set here.
        training: Patches, with an ``EpochSampler``.
        validation: Whole cases, one per batch, or ``None``.
        run: Where checkpoints and history go.
        budget: When to stop.
        device: Where.
        precision: Number format of the convolutions.
        seed: The run's seed.
        clip_norm: Largest gradient norm.
        compiled: Compile what can be; ``None``: in long trainings.
        on_progress: Called after every step with step, share of the budget, and numbers.

    Returns:
        Minutes used.

    Raises:
        KeyboardInterrupt: Ended by a signal; SIGTERM leaves a checkpoint of the last step.
        TrainingError: A loss that is no number.
    """
    keep_freed_memory()
    set_threads(None)
    seed_libraries(seed)
    for layer in module.modules():
        if isinstance(layer, InstanceNorm):
            layer.compiled = budget.is_long if compiled is None else compiled
    clock = TrainingClock(budget)
    module.clock = clock  # type: ignore[assignment]
    history = History(run.history, clock, on_progress)
    _quieten_lightning()
    trainer = pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=_devices(device),
        num_nodes=world_size() // local_world_size(),
        strategy="ddp" if world_size() > 1 else "auto",
        benchmark=device.type == "cuda",
        precision="bf16-mixed" if precision == torch.bfloat16 else "32-true",
        max_steps=budget.max_steps or -1,
        max_epochs=-1,
        check_val_every_n_epoch=budget.epochs_per_validation or 1,
        limit_val_batches=1.0 if validation is not None and budget.epochs_per_validation else 0,
        num_sanity_val_steps=0,
        gradient_clip_val=clip_norm,
        callbacks=[StopAtNonFinite(training), clock, history, Checkpoints(run.checkpoints, training, budget)],
        plugins=[AtomicCheckpoints()],
        logger=TensorBoardLogger(run.root, name="tensorboard", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=min(10, budget.steps_per_epoch),
        default_root_dir=run.root,
    )
    with warnings.catch_warnings():
        # Lightning advises more loader workers whenever there are cores; the number is the user's choice here.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")  # --device cpu is the user's choice
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")  # validation is optional here
        # Lightning 2.6 calls a part of torch that torch 2.14 renames
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended before the epoch.*")
        _run(trainer, module, training, validation, run)
    return clock.minutes


def _run(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    training: DataLoader[Any],
    validation: DataLoader[Any] | None,
    run: RunFolder,
) -> None:
    """Train; Lightning ends the process on both signals, the first with code 0: to the caller both are interrupts."""
    try:
        trainer.fit(module, training, validation, ckpt_path=unfinished_checkpoint(run))
    except SystemExit as error:
        if isinstance(error, SIGTERMException) or isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _devices(device: torch.device) -> int | list[int]:
    """All processes of this machine, one device each, or the one device of a training that is alone."""
    if world_size() > 1:
        return local_world_size()
    return [device.index or 0] if device.type == "cuda" else 1


def _quieten_lightning() -> None:
    """Lightning's hints about devices and tips go to the log level of warnings only."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
