"""Where a training goes on from: complete or absent, read without unpickling code, and never with other patches than before.

Lightning makes a loader's iterator before it tells the sampler the epoch. Loader processes draw at once: without the sampler
being told first, a resumed training would see the patches of its first epoch again.
"""

from __future__ import annotations

import os
import shutil
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from segsuite.engines.budget import Budget
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import Advice, TrainingError
from segsuite.files import make_folder, write_atomically

__all__ = ["BEST", "LAST", "AtomicCheckpoints", "Checkpoints", "unfinished_checkpoint"]

LAST = "last.ckpt"
BEFORE = "last_before.ckpt"
"""The one before the last, for the day on which the last cannot be read."""
BEST = "best.ckpt"
PROGRESS = ("ready", "started", "processed", "completed")


class ResumableSampler(Protocol):
    """What draws the numbers of an epoch, from any place in it."""

    def go_on_at(self, epoch: int, n_over: int) -> None:
        """Begin within an epoch.

        Args:
            epoch: Which.
            n_over: Items of it that are over.
        """


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that are complete or absent, and are read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside, sync, rename."""
        target = Path(path)
        make_folder(target.parent)
        if target.name == LAST and target.is_file():
            write_atomically(target.with_name(BEFORE), lambda temporary: _keep(target, temporary))
        write_atomically(target, lambda temporary: torch.save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read tensors and plain values only."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded


def _keep(path: Path, another: Path) -> None:
    """A second name for a file; a copy where the disk knows no second names (exFAT, some network shares)."""
    try:
        os.link(path, another)
    except OSError:
        shutil.copyfile(path, another)


class Checkpoints(pl.Callback):
    """Saves ``last.ckpt`` after every epoch, before a validation and on SIGTERM, and ``best.ckpt`` when the score rises.

    Stops when the score does not rise any more, or is good enough.
    """

    def __init__(self, folder: Path, training: DataLoader[Any], budget: Budget) -> None:
        """Set up.

        Args:
            folder: Where.
            training: The loader, whose sampler is told where to go on.
            budget: Patience and target.
        """
        self.folder, self.training, self.budget = folder, training, budget
        self.best, self.n_since_best = -1.0, 0
        self.is_within_epoch = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Before the step that a validation follows: Lightning cannot go on within one, so the last step is done again."""
        is_last = batch_idx == trainer.num_training_batches - 1
        if is_last and batch_idx > 0 and trainer.fit_loop.epoch_loop._should_check_val_epoch():
            self._save_within_epoch(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """SIGTERM lets a step finish; of several processes each may be at another one, and what the last epoch left stays."""
        n_over = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        between_steps = isinstance(exception, SIGTERMException) and trainer.training and trainer.world_size == 1
        if between_steps and 0 < n_over < trainer.num_training_batches:
            self._save_within_epoch(trainer)

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
        tired = bool(self.budget.patience) and self.n_since_best >= self.budget.patience
        if tired or (self.budget.target is not None and self.best >= self.budget.target):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save where to go on from."""
        trainer.save_checkpoint(self.folder / LAST)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Mark the epoch as over. Lightning would go on inside it and train one more batch where no validation ran."""
        loop = checkpoint["loops"]["fit_loop"]
        batches = loop["epoch_loop.batch_progress"]
        batches["is_last_batch"] = False
        if self.is_within_epoch:
            for scope in ("total", "current"):
                batches[scope] = dict.fromkeys(PROGRESS, batches[scope]["completed"])
            return
        n_over = trainer.current_epoch + 1
        for scope in ("total", "current"):
            loop["epoch_progress"][scope] = dict.fromkeys(PROGRESS, n_over)
        batches["current"] = dict.fromkeys(batches["current"], 0)

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Tell the sampler where to go on before any loader draws from it."""
        loop = checkpoint["loops"]["fit_loop"]
        n_over = loop["epoch_loop.batch_progress"]["current"]["completed"]
        sampler: ResumableSampler = self.training.sampler  # type: ignore[assignment]
        sampler.go_on_at(loop["epoch_progress"]["current"]["processed"], n_over * (self.training.batch_size or 1))

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"best": self.best, "n_since_best": self.n_since_best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.best, self.n_since_best = state_dict["best"], int(state_dict["n_since_best"])

    def _save_within_epoch(self, trainer: pl.Trainer) -> None:
        self.is_within_epoch = True
        try:
            trainer.save_checkpoint(self.folder / LAST)
        finally:
            self.is_within_epoch = False


def unfinished_checkpoint(run: RunFolder) -> Path | None:
    """The checkpoint to go on from.

    Args:
        run: The run.

    Returns:
        ``checkpoints/last.ckpt`` if it is there; the one before it where the last is damaged, which is said.

    Raises:
        TrainingError: There are checkpoints and none can be read.
    """
    there = [path for path in (run.checkpoints / LAST, run.checkpoints / BEFORE) if path.is_file()]
    for path in there:
        if _is_readable(path):
            if path.name == BEFORE:
                warnings.warn(f"{run.checkpoints / LAST} is damaged: going on from {path.name}.", Advice, stacklevel=2)
            return path
    if there:
        raise TrainingError(
            f"{run.root} must hold a checkpoint that can be read, got {', '.join(path.name for path in there)}, damaged. "
            f"Delete {run.checkpoints} to begin from the start, or take another --out."
        )
    return None


def _is_readable(path: Path) -> bool:
    """Whether all bytes are as they were written: a checkpoint is a ZIP with checksums, which torch itself does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error, RuntimeError):
        return False
