from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from segsuite.engines import training
from segsuite.engines.training import Budget, History, TrainingClock


def test_progress_is_the_larger_of_steps_and_time() -> None:
    clock = TrainingClock(Budget(max_steps=100, max_minutes=10, steps_per_epoch=1, epochs_per_validation=0))
    clock.load_state_dict({"seconds": 300})
    assert clock.progress(20) == pytest.approx(0.5, abs=0.01)
    assert clock.progress(80) == pytest.approx(0.8)
    assert clock.progress(500) == 1


def test_time_goes_on_after_a_restart() -> None:
    clock = TrainingClock(Budget(None, 10, 1, 0))
    clock.load_state_dict({"seconds": 120})
    assert clock.state_dict()["seconds"] == pytest.approx(120, abs=1)


def test_time_between_steps_is_told_as_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of three seconds; the first batch takes one second to come, the second two; validation does not count."""
    now = [100.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    history = History(tmp_path / "h.csv", TrainingClock(Budget(2, None, 2, 0)), None)
    trainer = SimpleNamespace(global_step=2, is_global_zero=True, callback_metrics={"loss": 0.5})
    history.on_train_epoch_start(trainer, None)
    for seconds in (1, 2):
        now[0] += seconds
        history.on_train_batch_start(trainer, None)
        now[0] += 3
        history.on_train_batch_end(trainer, None)
    now[0] += 50
    history.on_train_epoch_end(trainer, None)
    rows = {line.split(",")[2]: float(line.split(",")[3]) for line in (tmp_path / "h.csv").read_text().splitlines()[1:]}
    assert rows == {"loss": 0.5, "data_wait_share": pytest.approx(3 / 9, rel=1e-4)}
