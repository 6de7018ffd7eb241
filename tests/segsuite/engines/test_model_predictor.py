from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.model_folder import write_ensemble, write_model_folder
from segsuite.engines.model_predictor import ModelPredictor, model_of_pipeline
from segsuite.errors import ModelError, SettingsError

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


def opened(folder: Path, pipeline: str = "p", builder: Any = build, **overrides: Any) -> ModelPredictor:
    return ModelPredictor(model_of_pipeline(folder, pipeline=pipeline), builder, device="cpu", overrides=overrides)


def probabilities(predictor: ModelPredictor) -> np.ndarray:
    return np.concatenate(list(predictor.rows(IMAGE)), axis=1)


def test_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(seed), seed, components) for seed, components in ((0, (3,)), (1, ()))]
    write_ensemble(tmp_path / "e", folders, card="")
    single = [probabilities(opened(folder)) for folder in folders]
    ensemble = opened(tmp_path / "e")
    np.testing.assert_allclose(probabilities(ensemble), (single[0] + single[1]) / 2, atol=1e-6)
    assert ensemble.largest_component == ()
    assert ensemble.class_labels == (0, 3)


def test_another_model_has_another_hash(tmp_path: Path) -> None:
    hashes = {opened(write(tmp_path / str(s), s)).sha256 for s in (0, 1)}
    assert len(hashes) == 2


def test_model_of_another_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model of `q`, got one of `p`"):
        opened(write(tmp_path / "m", 0), "q")


def test_weights_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must hold the weights of its own network"):
        opened(write(tmp_path / "m", 0), builder=lambda _: build({"kernel": 5}))


def test_overrides_change_how_the_model_is_applied_and_its_hash(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", 0)
    plain, wide = opened(folder), opened(folder, overlap=0.75, patch_size=[4, 4, 4])
    assert plain.sha256 != wide.sha256
    assert not np.allclose(probabilities(plain), probabilities(wide))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"overlapp": 0.5}, "got `overlapp`.*overlap"), ({"overlap": "much"}, "overlap must be like 0.5, got 'much'")],
)
def test_override_that_does_not_exist_or_fit(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        opened(write(tmp_path / "m", 0), **overrides)
