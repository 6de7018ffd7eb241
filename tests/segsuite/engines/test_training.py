from __future__ import annotations

import pytest

from segsuite.engines.training import Budget, TrainingClock


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
