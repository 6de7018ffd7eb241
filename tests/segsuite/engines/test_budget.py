from __future__ import annotations

import pytest

from segsuite.engines.budget import Budget, TrainingClock, budget_of


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


@pytest.mark.parametrize(
    ("max_steps", "max_minutes", "is_long"),
    [(None, 60, True), (None, 1.5, False), (400, None, False), (5000, None, True), (5000, 2, False), (100, 60, False)],
)
def test_a_long_training_is_long_by_each_of_its_limits(max_steps: int | None, max_minutes: float | None, is_long: bool) -> None:
    assert Budget(max_steps, max_minutes, 1, 0).is_long is is_long


def test_settings_name_the_budget() -> None:
    named = {"max_steps": 7, "max_minutes": None, "steps_per_epoch": 2, "epochs_per_validation": 1, "learning_rate": 1}
    assert budget_of(named) == Budget(7, None, 2, 1)
