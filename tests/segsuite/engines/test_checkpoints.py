"""A training that was ended at any place goes on to the weights of one that was not, with any number of loader processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from segsuite.data.samplers import EpochSampler
from segsuite.engines.budget import Budget
from segsuite.engines.processes import let_training_end_first
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.training import fit
from segsuite.errors import Advice, TrainingError

N_STEPS, PER_EPOCH, BATCH = 12, 4, 2


class Numbers(Dataset[torch.Tensor]):
    """Item n is n: the weights tell which ones were seen, and in which order."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index)])


class Remembering(pl.LightningModule):
    """Its only weight is what it has seen, newest last, as digits of a number in base 97."""

    def __init__(self, at: Callable[[str, int], None]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("seen", torch.full((N_STEPS, BATCH), -1.0))
        self.register_buffer("judged", torch.zeros(1))
        self.at = at

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        self.at("step", self.global_step)
        self.seen[self.global_step] = batch[:, 0]
        return (self.weight * batch.mean()).sum()

    def validation_step(self, batch: torch.Tensor, number: int) -> None:
        self.at("validation", self.global_step)
        self.judged += 1
        self.log("validation_dice", 0.5)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.1)


def trained(folder: Path, *, workers: int, at: Callable[[str, int], None] = lambda *_: None) -> dict[str, Any]:
    module = Remembering(at)
    loader = DataLoader(
        Numbers(),
        batch_size=BATCH,
        sampler=EpochSampler(BATCH * PER_EPOCH),
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=let_training_end_first,
    )
    fit(
        module,
        loader,
        DataLoader([torch.zeros(1), torch.ones(1)]),
        RunFolder(folder),
        budget=Budget(N_STEPS, None, PER_EPOCH, epochs_per_validation=2),
        device=torch.device("cpu"),
        precision=torch.float32,
        seed=0,
        clip_norm=1e9,
    )
    return module.state_dict()


def test_an_unbroken_training_sees_every_number_once(tmp_path: Path) -> None:
    found = trained(tmp_path, workers=0)
    assert found["seen"].ravel().tolist() == list(range(N_STEPS * BATCH))
    assert found["judged"] == 2


@pytest.mark.parametrize(("workers", "step"), [(2, 5), *(pytest.param(n, 9, marks=pytest.mark.slow) for n in range(3))])
def test_a_killed_training_goes_on_with_the_patches_that_were_next(workers: int, step: int, tmp_path: Path) -> None:
    """With loader processes it saw the patches of the first epoch again."""

    def die(what: str, now: int) -> None:
        if (what, now) == ("step", step):
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        trained(tmp_path, workers=workers, at=die)
    assert trained(tmp_path, workers=workers)["seen"].ravel().tolist() == list(range(N_STEPS * BATCH))


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(
    "place", [("step", 0), ("validation", 8), *(pytest.param(("step", n), marks=pytest.mark.slow) for n in (2, 3, 6))]
)
def test_sigterm_loses_no_step_and_is_an_interrupt(workers: int, place: tuple[str, int], tmp_path: Path) -> None:
    """Also before the first checkpoint, in the last step of an epoch, and while whole cases are validated."""
    steps: list[int] = []

    def ask(what: str, now: int) -> None:
        if what == "step":
            steps.append(now)
        if (what, now) == place:
            for process in (*psutil.Process().children(), psutil.Process()):  # as a scheduler does: to all of the job
                process.send_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, workers=workers, at=ask)
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    ended_at = len(steps)
    found = trained(tmp_path, workers=workers, at=lambda what, now: steps.append(now) if what == "step" else None)
    whole = trained(tmp_path / "whole", workers=0)
    assert all(torch.equal(found[name], whole[name]) for name in ("weight", "seen"))
    assert steps[ended_at:] == list(range(place[1] + (1 if place[0] == "step" else -1), N_STEPS))
    rows = [line.split(",") for line in (tmp_path / "history.csv").read_text().splitlines()[1:]]
    assert [int(row[0]) for row in rows if row[2] == "data_wait_share"] == [4, 8, 12]
    assert [int(row[0]) for row in rows if row[2] == "validation_dice"] == [8]


def killed_in(folder: Path, step: int) -> Path:
    def die(what: str, now: int) -> None:
        if (what, now) == ("step", step):
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        trained(folder, workers=0, at=die)
    return folder / "checkpoints"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(damage: str, tmp_path: Path) -> None:
    """torch.load takes a flipped bit for a weight and says nothing; the ZIP's checksums tell."""
    last = killed_in(tmp_path, 9) / "last.ckpt"
    content = bytearray(last.read_bytes())
    middle = content.index(b"data/0") + 200
    content[middle] ^= 8
    last.write_bytes({"cut": bytes(content[: len(content) // 2]), "flipped": bytes(content), "empty": b""}[damage])
    with pytest.warns(Advice, match=r"last\.ckpt is damaged: going on from last_before\.ckpt"):
        found = trained(tmp_path, workers=0)
    assert found["seen"].ravel().tolist() == list(range(N_STEPS * BATCH))


def test_no_readable_checkpoint_is_said_and_nothing_is_deleted(tmp_path: Path) -> None:
    folder = killed_in(tmp_path, 9)
    before = {path.name: path.write_bytes(b"damaged") for path in folder.iterdir()}
    with pytest.raises(TrainingError, match=r"got last\.ckpt, last_before\.ckpt, damaged\. Delete .*checkpoints to begin"):
        trained(tmp_path, workers=0)
    assert {path.name for path in folder.iterdir()} == set(before)


def test_a_disk_without_second_names_keeps_the_checkpoint_before_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder = killed_in(tmp_path, 9)
    assert (folder / "last_before.ckpt").is_file()
    assert trained(tmp_path, workers=0)["seen"].ravel().tolist() == list(range(N_STEPS * BATCH))
