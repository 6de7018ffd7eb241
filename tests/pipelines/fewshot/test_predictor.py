from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.fewshot.bank import Structure
from pipelines.fewshot.predictor import FewshotPredictor, wins_in_the_open, with_new
from segsuite.engines.model_folder import read_model_folder, write_ensemble
from segsuite.engines.run_folder import RunFolder
from segsuite.engines.segmentation import Request
from segsuite.errors import ModelError, SettingsError
from segsuite.volumes.reading import read_channels

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


def test_structures_far_smaller_than_in_the_supports_are_noted(fewshot_run: RunFolder) -> None:
    predictor = FewshotPredictor(read_model_folder(fewshot_run.model), device="cpu")
    image = next((fewshot_run.root / "cohort" / "images").glob("*.nii.gz"))
    volume = read_channels([image], n_channels=1)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    labels = np.zeros(volume.grid.shape, dtype=np.uint8)
    for structure in predictor.bank.structures:
        ml = [support.counts[0] * np.prod(predictor.preprocessing.spacing_mm) / 1000 for support in structure.supports]
        assert (predictor._doubts(labels, volume) != []) or min(ml) == 0
        labels.ravel()[np.flatnonzero(labels == 0)[: int(0.3 * min(ml) / voxel_ml) + 1]] = structure.label
    assert predictor._doubts(labels, volume) == []
    first = predictor.bank.structures[0]
    labels[labels == first.label] = 0
    (note,) = predictor._doubts(labels, volume)
    assert note.startswith(f"{first.name}: 0.0 ml, in the supports at least ")
    predictor._doubts = lambda labels, volume: [note]
    assert note in predictor.segment(volume, Request("c")).notes


def test_engines_are_judged_with_the_rule_that_was_exported(fewshot_run: RunFolder) -> None:
    model = read_model_folder(fewshot_run.model)
    with pytest.raises(SettingsError, match="must have the network as it was exported, got --set rule"):
        FewshotPredictor(model, device="cpu", overrides={"rule": "prototype", "backend": "openvino"})
    assert FewshotPredictor(model, device="cpu", overrides={"rule": "prototype"}).backend(model).engine == "torch"
