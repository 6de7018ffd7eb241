from __future__ import annotations

import pytest

from segsuite.errors import SettingsError
from segsuite.verbs.runs import load_settings


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network.branches=[[peripheral_zone],[transition_zone]]"], "must share at least one zone"),
        (["network.branches=[[peripheral_zone,transition_zone]]"], "set `co_training.share=0`"),
        (["network.channels=[8,16]"], "one stride between stages"),
        (["network.norm=layer"], "network.norm"),
        (["image.patch_size=[84,84,28]"], "multiples of the strides.* got \\(84, 84, 28\\)"),
        (["co_training.kind=mse"], "co_training.kind"),
    ],
)
def test_what_cannot_be_is_named(overrides: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings("prostate_zones/phantom", overrides)


def test_one_branch_is_the_baseline() -> None:
    settings = load_settings("prostate_zones/phantom", ["network.branches=[[a,b]]", "co_training.share=0"])[1]
    assert settings.network.branches == (("a", "b"),)
