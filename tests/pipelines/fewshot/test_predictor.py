from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.fewshot.bank import Structure
from pipelines.fewshot.predictor import FewshotPredictor, wins_in_the_open, with_new
from segsuite.engines.model_folder import read_model_folder, write_ensemble
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError, SettingsError

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
    assert other.network.thresholds.tolist() == [0.0, 0.0]
    assert plain.extra == ("bladder", "seminal_vesicles")


def test_open_competition_is_the_argmax_of_all_logits() -> None:
    """Three voxels: logits of background, two base classes, and a new one that is given against background."""
    logits = np.array([[1.0, 0.5, 0.0, 2.0], [1.0, 3.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.5]])
    base = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
    new = 1 / (1 + np.exp(logits[:, 0] - logits[:, 3]))
    expected = logits.argmax(axis=1) == 3
    assert wins_in_the_open(new.reshape(3, 1, 1), base.T.reshape(3, 3, 1, 1)).ravel().tolist() == expected.tolist()


def test_new_structures_take_only_what_is_free() -> None:
    base = np.array([0, 1, 0, 0], dtype=np.uint8).reshape(4, 1, 1)
    maps = np.array([[0.9, 0.9, 0.2, 0.6], [0.1, 0.1, 0.3, 0.8]]).reshape(2, 4, 1, 1)
    structures = [Structure("a", 5, 1, (), largest_component=False), Structure("b", 6, 1, (), largest_component=False)]
    assert with_new(base, base, maps, structures).ravel().tolist() == [5, 1, 0, 6]
    assert base.ravel().tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("rule", ["prototype", "blended", "logistic", "finetuned"])
def test_every_rule_predicts(fewshot_run: RunFolder, rule: str) -> None:
    peer = FewshotPredictor(read_model_folder(fewshot_run.model), device="cpu", overrides={"rule": rule, "prototypes": 2})
    assert (peer.network.base_kernels is not None) == (rule == "blended")
    assert peer.network.weights.isfinite().all()


def test_map_that_the_model_cannot_give_is_refused(fewshot_run: RunFolder) -> None:
    with pytest.raises(SettingsError, match="foreground_map must have a model trained with"):
        FewshotPredictor(read_model_folder(fewshot_run.model), device="cpu", overrides={"foreground_map": True})


def test_model_of_an_older_version_is_named(fewshot_run: RunFolder) -> None:
    """I11."""
    model = read_model_folder(fewshot_run.model)
    del model.description["flipped_axes"]
    with pytest.raises(ModelError, match="must be a model of this version, got one of an older"):
        FewshotPredictor(model, device="cpu")
