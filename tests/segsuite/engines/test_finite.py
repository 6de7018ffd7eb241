"""A loss that is no number ends a training before it reaches the weights that are kept."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segsuite.engines.budget import Budget
from segsuite.engines.finite import STEPS_BETWEEN_LOOKS, StopAtNonFinite
from segsuite.engines.model_folder import read_model_folder, write_model_folder
from segsuite.errors import ModelError, TrainingError


class Patches:
    """Patch n comes from case n % 3."""

    def case_of(self, index: int) -> Any:
        return SimpleNamespace(case=SimpleNamespace(case_id=f"case_{index % 3}"))


def watch() -> StopAtNonFinite:
    return StopAtNonFinite(SimpleNamespace(dataset=Patches()))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_step_and_the_cases_in_hand_are_named(value: float) -> None:
    guard, trainer = watch(), SimpleNamespace(global_step=7)
    guard.on_train_batch_start(trainer, None, {"index": torch.tensor([4, 5, 7])}, 0)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=rf"got {value:g} at step 7, with the cases case_1, case_2 in hand"):
        guard.on_before_backward(trainer, None, torch.tensor(value))  # type: ignore[arg-type]


def test_a_gpu_is_not_waited_for_at_each_step_but_before_each_checkpoint() -> None:
    guard, trainer = watch(), SimpleNamespace(global_step=0)
    loss = torch.tensor(math.nan)
    elsewhere = SimpleNamespace(device=SimpleNamespace(type="cuda"), detach=lambda: loss)
    for step in range(STEPS_BETWEEN_LOOKS - 1):
        trainer.global_step = step
        guard.on_before_backward(trainer, None, elsewhere)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="at step 0"):
        guard.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


def test_a_training_stops_before_the_weights_are_harmed(tmp_path: Path) -> None:
    """The real trainer: the third step's loss is no number, and the weights are those of two steps."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, TensorDataset

    from segsuite.engines.run_folder import RunFolder
    from segsuite.engines.training import fit

    class Sampler(torch.utils.data.Sampler[int]):
        def __iter__(self) -> Any:
            return iter(range(8))

        def __len__(self) -> int:
            return 8

        def set_epoch(self, epoch: int) -> None:
            """As ``EpochSampler``."""

    class Slope(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.slope = torch.nn.Parameter(torch.tensor(1.0))

        def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
            return self.slope * batch[0].mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    values = torch.tensor([1.0, 1.0, math.nan, 1.0, 1.0, 1.0, 1.0, 1.0])
    loader = DataLoader(TensorDataset(values), batch_size=1, sampler=Sampler())
    module = Slope()
    with pytest.raises(TrainingError, match="got nan at step 2"):
        fit(
            module,
            loader,
            None,
            RunFolder(tmp_path),
            budget=Budget(8, None, 8, 0),
            device=torch.device("cpu"),
            precision=torch.float32,
            seed=0,
            clip_norm=10.0,
        )
    assert module.slope.item() == pytest.approx(1.0 - 2 * 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_no_numbers_never_become_a_model(tmp_path: Path, bad: float) -> None:
    weights = {"conv.weight": torch.ones(4), "norm.bias": torch.tensor([0.0, bad, 1.0])}
    with pytest.raises(ModelError, match=r"got 1 NaN or infinite of 3 in `norm\.bias`"):
        write_model_folder(tmp_path / "m", weights=weights, description={"pipeline": "supervised"}, card="")
    assert not (tmp_path / "m" / "model.json").exists()
    good = {"conv.weight": torch.ones(4), "counted": torch.tensor([1, 2])}
    model = write_model_folder(tmp_path / "m", weights=good, description={"pipeline": "supervised"}, card="")
    assert set(read_model_folder(model.path).weights()) == set(good)
