from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.cohort_contrast.fitting import fit_branches, scaled_attributes
from pipelines.cohort_contrast.module import Independence, SeparationModule
from pipelines.cohort_contrast.network import TwoBranches
from pipelines.cohort_contrast.views import Views
from pipelines.cohort_contrast.weights import PRESETS
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ManifestError
from tests.pipelines.cohort_contrast.conftest import two_groups

TRAINING = {
    "optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0,
    "max_minutes": None, "max_steps": 4, "steps_per_epoch": 2, "epochs_per_validation": 0, "patience": 0,
}  # fmt: skip
NETWORK = {
    "encoder": "convolutional", "spatial_shape": (16, 16), "in_channels": 1, "channels": (8, 8), "common_dimensions": 4,
    "salient_dimensions": 2, "norm": "group",
}  # fmt: skip


def fitted(folder: Path, **changed: object) -> tuple[TwoBranches, float, int]:
    sampling = {"batch_size": 8, "memory_rows": 8, "match_sites": False}
    asked = {"training": TRAINING, "attributes": (), **changed}
    return fit_branches(
        two_groups(20), RunFolder(folder), network=NETWORK, weights=PRESETS["medical"], independence=Independence(),
        views=Views(), sampling=sampling, device=torch.device("cpu"), seed=0, **asked,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, steps = fitted(tmp_path / "whole")
    assert steps == 4
    step = SeparationModule.training_step

    def killed(module: SeparationModule, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        if module.global_step == 3:
            raise RuntimeError("killed")
        return step(module, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(SeparationModule, "training_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            fitted(tmp_path / "killed")
    resumed, _, steps = fitted(tmp_path / "killed")
    assert steps == 4
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_attributes_are_scaled_by_the_diseased_and_texts_are_classes() -> None:
    scans = two_groups(12)
    values, is_class = scaled_attributes(scans, ("age", "kind"))
    assert is_class == (False, True)
    np.testing.assert_allclose(values[6:, 0], np.linspace(0, 1, 6))
    assert np.isnan(values[:6, 1]).all()
    assert set(values[6:, 1]) == {0.0, 1.0}
    with pytest.raises(ManifestError, match="`attributes` must be in the manifest, got `ages`. Did you mean `age`"):
        scaled_attributes(scans, ("ages",))
