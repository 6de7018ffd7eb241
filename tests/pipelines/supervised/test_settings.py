from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.supervised.settings import Settings, TrainingSettings


def test_defaults_are_a_twenty_minute_training() -> None:
    settings = Settings(pipeline="supervised", name="x")
    assert settings.training.max_minutes == 20
    assert settings.plan.patch_size is None


def test_a_training_without_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="training must end"):
        TrainingSettings(max_minutes=None, max_steps=None)
