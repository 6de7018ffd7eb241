from __future__ import annotations

import pytest

from pipelines.cohort_contrast.settings import Settings
from segsuite.errors import SettingsError
from segsuite.settings import validated


def settings(**changed: object) -> Settings:
    return validated({"pipeline": "cohort_contrast", "name": "x", **changed}, Settings, source="x")


def test_phantom_prostates_are_no_cohort() -> None:
    with pytest.raises(SettingsError, match="give `brains`, not `phantom`"):
        settings(data={"phantom": {}})
    with pytest.raises(SettingsError, match="give either `manifest` or `brains`"):
        settings(data={"manifest": "m.json", "brains": {}})


def test_batches_hold_both_groups() -> None:
    with pytest.raises(SettingsError, match=r"sampling.batch_size"):
        settings(sampling={"batch_size": 7})
