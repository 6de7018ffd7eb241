from __future__ import annotations

import pytest

from pipelines.cohort_contrast.settings import LossSettings
from pipelines.cohort_contrast.weights import PRESETS, weights_of


def test_presets_can_be_overridden() -> None:
    loss = {"preset": "vision", "kind": "split", "null_weight": 3.0, "joint_weight": None}
    found = weights_of(loss)
    assert (found.salient, found.null, found.joint, found.kind) == (1000.0, 3.0, 10.0, "split")


def test_share_of_the_common_branch_can_be_chosen() -> None:
    loss = LossSettings(preset="medical", joint_on_common=0.5).model_dump()
    assert (weights_of(loss).joint, weights_of(loss).joint_on_common) == (10.0, 0.5)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_alone_is_what_it_says(preset: str) -> None:
    assert weights_of(LossSettings(preset=preset).model_dump()) == PRESETS[preset]  # type: ignore[arg-type]
