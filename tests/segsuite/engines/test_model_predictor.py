from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.model_folder import write_ensemble, write_model_folder
from segsuite.engines.model_predictor import ModelPredictor, open_predictor
from segsuite.errors import ModelError

IMAGE = np.random.default_rng(0).normal(size=(1, 9, 8, 8)).astype(np.float32)


def build(arguments: dict[str, Any]) -> torch.nn.Module:
    return torch.nn.Conv3d(1, 2, arguments["kernel"], padding=arguments["kernel"] // 2)


def write(folder: Path, seed: int, components: tuple[int, ...] = ()) -> Path:
    torch.manual_seed(seed)
    inference = {"patch_size": [8, 8, 8], "overlap": 0.5, "mirror_axes": [], "precision": "float32"}
    description = {
        "pipeline": "p",
        "labels": {"background": 0, "x": 3},
        "class_labels": [0, 3],
        "channels": {"0": "t2"},
        "preprocessing": Preprocessing(None, (Normalisation(),)).to_json(),
        "network": {"kernel": 3},
        "inference": {**inference, "largest_component": list(components)},
    }
    write_model_folder(folder, weights=build({"kernel": 3}).state_dict(), description=description, card="")
    return folder


def probabilities(predictor: ModelPredictor) -> np.ndarray:
    return np.concatenate(list(predictor.rows(IMAGE)), axis=1)


def test_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(seed), seed, components) for seed, components in ((0, (3,)), (1, ()))]
    write_ensemble(tmp_path / "e", folders, card="")
    single = [probabilities(open_predictor(folder, build, pipeline="p", device="cpu")) for folder in folders]
    ensemble = open_predictor(tmp_path / "e", build, pipeline="p", device="cpu")
    np.testing.assert_allclose(probabilities(ensemble), (single[0] + single[1]) / 2, atol=1e-6)
    assert ensemble.largest_component == ()
    assert ensemble.class_labels == (0, 3)


def test_another_model_has_another_hash(tmp_path: Path) -> None:
    hashes = {open_predictor(write(tmp_path / str(s), s), build, pipeline="p", device="cpu").sha256 for s in (0, 1)}
    assert len(hashes) == 2


def test_model_of_another_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model of `q`, got one of `p`"):
        open_predictor(write(tmp_path / "m", 0), build, pipeline="q", device="cpu")


def test_weights_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must hold the weights of its own network"):
        open_predictor(write(tmp_path / "m", 0), lambda _: build({"kernel": 5}), pipeline="p", device="cpu")
