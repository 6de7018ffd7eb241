from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines.forecast import plan_with_forecast


@pytest.mark.slow
def test_plan_comes_with_what_it_will_take(cohort_folder: Path) -> None:
    content = plan_with_forecast(cohort_folder / "manifest.json", data_root=None, device="cpu", workers=1)
    forecast = content["forecast"]
    assert forecast["network parameters"] > 10_000
    assert forecast["seconds per training step"] > 0
    assert forecast["steps in 20 minutes"] > 10
    assert forecast["cache on disk"].endswith("GB")
    assert content["plan"]["reasons"]
