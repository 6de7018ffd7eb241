from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.fewshot.predictor import FewshotPredictor
from segsuite.engines.model_folder import read_model_folder, write_ensemble
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError

pytestmark = pytest.mark.slow


def test_ensemble_is_refused(fewshot_run: RunFolder, tmp_path: Path) -> None:
    ensemble = write_ensemble(tmp_path / "e", [fewshot_run.model, fewshot_run.model], card="")
    with pytest.raises(ModelError, match="must be one model, got an ensemble"):
        FewshotPredictor(ensemble, device="cpu")


def test_how_structures_are_decided_can_be_changed(fewshot_run: RunFolder) -> None:
    model = read_model_folder(fewshot_run.model)
    plain = FewshotPredictor(model, device="cpu")
    other = FewshotPredictor(model, device="cpu", overrides={"rule": "prototype", "calibrate": False})
    assert plain.sha256 != other.sha256
    assert other.network.thresholds.tolist() == [0.5, 0.5]
    assert plain.extra == ("bladder", "seminal_vesicles")
