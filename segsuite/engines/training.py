"""Fit a module with Lightning so that it stops in time, survives a kill, and goes on to the same weights.

What makes a resumed run equal to an unbroken one: every patch is a function of its number (``data.datasets``), every
epoch of its number (``data.samplers``), checkpoints appear atomically at the end of an epoch and hold the elapsed time.
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
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from segsuite.engines.allocator import keep_freed_memory
from segsuite.engines.budget import Budget, TrainingClock
from segsuite.engines.devices import set_threads
from segsuite.engines.processes import local_world_size, world_size
from segsuite.engines.run_folder import RunFolder
from segsuite.files import write_atomically, write_text
from segsuite.networks.normalisation import InstanceNorm
from segsuite.seeding import seed_libraries

__all__ = ["fit", "unfinished_checkpoint"]

LAST = "last.ckpt"
BEST = "best.ckpt"
SECONDS_BETWEEN_REPORTS = 0.5


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are complete or absent, and are read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside, sync, rename."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, lambda temporary: torch.save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors and plain values only."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded


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


class Checkpoints(pl.Callback):
    """Saves ``last.ckpt`` after every epoch and ``best.ckpt`` when the score rises; stops when it does not, or is good enough."""

    def __init__(self, folder: Path, patience: int, target: float | None) -> None:
        """Set up.

        Args:
            folder: Where.
            patience: Validations without a rise before stopping; 0: never.
            target: Score that is good enough; ``None``: none is.
        """
        self.folder, self.patience, self.target = folder, patience, target
        self.best, self.n_since_best = -1.0, 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the score with the best one."""
        if trainer.sanity_checking or "validation_dice" not in trainer.callback_metrics:
            return
        score = float(trainer.callback_metrics["validation_dice"])
        if score > self.best:
            self.best, self.n_since_best = score, 0
            trainer.save_checkpoint(self.folder / BEST, weights_only=True)
        else:
            self.n_since_best += 1
        tired = bool(self.patience) and self.n_since_best >= self.patience
        if tired or (self.target is not None and self.best >= self.target):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where to go on from."""
        trainer.save_checkpoint(self.folder / LAST)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Mark the epoch as over. Lightning would go on inside it and train one more batch where no validation ran."""
        loop = checkpoint["loops"]["fit_loop"]
        n_over = trainer.current_epoch + 1
        for scope in ("total", "current"):
            loop["epoch_progress"][scope] = dict.fromkeys(("ready", "started", "processed", "completed"), n_over)
        batches = loop["epoch_loop.batch_progress"]
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"best": self.best, "n_since_best": self.n_since_best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.best, self.n_since_best = state_dict["best"], int(state_dict["n_since_best"])


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
        callbacks=[clock, history, Checkpoints(run.checkpoints, budget.patience, budget.target)],
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
        trainer.fit(module, training, validation, ckpt_path=unfinished_checkpoint(run))
    return clock.minutes


def unfinished_checkpoint(run: RunFolder) -> Path | None:
    """The checkpoint to go on from.

    Args:
        run: The run.

    Returns:
        ``checkpoints/last.ckpt`` if it is there.
    """
    path = run.checkpoints / LAST
    return path if path.is_file() else None


def _devices(device: torch.device) -> int | list[int]:
    """All processes of this machine, one device each, or the one device of a training that is alone."""
    if world_size() > 1:
        return local_world_size()
    return [device.index or 0] if device.type == "cuda" else 1


def _quieten_lightning() -> None:
    """Lightning's hints about devices and tips go to the log level of warnings only."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
