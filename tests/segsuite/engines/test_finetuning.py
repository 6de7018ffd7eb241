from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segsuite.data.fingerprint import Fingerprint
from segsuite.data.transforms import Normalisation, Preprocessing
from segsuite.engines.finetuning import inherited_plan, load_fitting_weights
from segsuite.engines.model_folder import ModelFolder, write_ensemble, write_model_folder
from segsuite.engines.planning import make_plan
from segsuite.errors import ModelError
from segsuite.networks.unet import UNet


def network(n_classes: int, width: int = 4) -> UNet:
    return UNet(in_channels=1, out_channels=n_classes, channels=[width, 8], kernels=[[3] * 3] * 2, strides=[[1] * 3, [2] * 3])


def write(folder: Path) -> ModelFolder:
    torch.manual_seed(0)
    description = {
        "pipeline": "p",
        "name": "first",
        "labels": {"background": 0, "x": 1},
        "channels": {"0": "a"},
        "preprocessing": Preprocessing((2.0, 2.0, 4.0), (Normalisation("zscore"),)).to_json(),
        "network": {"kind": "unet", "channels": [4, 8], "kernels": [[3] * 3] * 2, "strides": [[1] * 3, [2] * 3]},
        "inference": {"patch_size": [16, 16, 8]},
    }
    return write_model_folder(folder, weights=network(2).state_dict(), description=description, card="")


def test_all_that_fits_is_copied_and_the_head_of_other_classes_stays_fresh(tmp_path: Path) -> None:
    model = write(tmp_path / "m")
    torch.manual_seed(1)
    other = network(5)
    head = other.heads[0].weight.clone()
    assert load_fitting_weights(other, model) == ["heads.0.bias", "heads.0.weight"]
    assert torch.equal(other.encoder[0].first.weight, model.weights()["encoder.0.first.weight"])
    assert torch.equal(other.heads[0].weight, head)
    assert load_fitting_weights(network(2), model) == []


def test_another_network_or_an_ensemble_is_refused(tmp_path: Path) -> None:
    model = write(tmp_path / "m")
    with pytest.raises(ModelError, match="must hold the same network as the config asks for"):
        load_fitting_weights(network(2, width=6), model)
    ensemble = write_ensemble(tmp_path / "e", [model.path], card="")
    with pytest.raises(ModelError, match="must be one model to fine-tune, got an ensemble"):
        load_fitting_weights(network(2), ensemble)


def test_plan_takes_over_what_the_weights_depend_on(tmp_path: Path) -> None:
    model = write(tmp_path / "m")
    values = {"mean": 100.0, "std": 30.0, "low": 20.0, "high": 250.0}
    fingerprint = Fingerprint(
        n_cases=2, n_looked_at=2, shapes=[[64, 64, 20]] * 2, spacings_mm=[[1.0, 1.0, 3.0]] * 2, intensities=[values],
        case_scale_spread=[50.0], zero_share=0.0, least_intensity=[0.0], label_ml={"x": 5.0}, label_share={"x": 1.0},
    )  # fmt: skip
    plan = make_plan(fingerprint, on_gpu=False)
    taken = inherited_plan(plan, model)
    assert taken.spacing_mm == (2.0, 2.0, 4.0)
    assert taken.patch_size == (16, 16, 8)
    assert taken.channels == (4, 8)
    assert taken.mirror_axes == plan.mirror_axes
    assert "first" in taken.reasons["spacing_mm"]
    flat = ModelFolder(model.path, {**model.description, "network": {"kind": "slice_network"}})
    with pytest.raises(ModelError, match="single 3-D model"):
        inherited_plan(plan, replace(flat))
