from __future__ import annotations

import pytest

from segsuite.errors import SettingsError
from segsuite.verbs.runs import load_settings


@pytest.mark.parametrize(
    "override", ["features.rule=some", "kernels.rule=nearest", "kernels.competition=fair", "features.channels=2"]
)
def test_what_cannot_be_is_named(override: str) -> None:
    with pytest.raises(SettingsError, match=override.split("=")[0]):
        load_settings("fewshot/phantom", [override])
