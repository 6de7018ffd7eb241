from __future__ import annotations

import pytest

from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.run_folder import RunFolder


@pytest.mark.slow
def test_model_folder_tells_all_that_prediction_and_people_need(tiny_run: RunFolder) -> None:
    description = read_model_folder(tiny_run.model).description
    assert description["pipeline"] == "supervised"
    assert description["class_labels"] == [0, 1, 2, 3, 4]
    assert description["preprocessing"]["spacing_mm"] == pytest.approx([3.0, 3.0, 6.0], abs=1e-3)
    assert len(description["data"]["training_cases"]) == 4
    card = (tiny_run.model / "README.md").read_text()
    assert "| 1 | peripheral_zone |" in card
    assert "Not a medical device" in card
    known = description["data"]
    assert len(known["training_scans"]["hashes"]) == 4
    assert known["fingerprint"]["planes"] == ["axial"]
    assert "sided_labels" not in known
