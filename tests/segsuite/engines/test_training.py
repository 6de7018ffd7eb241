from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from segsuite.engines import training
from segsuite.engines.budget import Budget, TrainingClock
from segsuite.engines.training import History


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
