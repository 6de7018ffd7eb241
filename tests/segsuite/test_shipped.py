from __future__ import annotations

import pytest

from segsuite.errors import SettingsError
from segsuite.shipped import find_config, find_manifest, shipped_configs, shipped_folder


def test_names_are_pipeline_and_experiment() -> None:
    assert "supervised/phantom" in shipped_configs()
    assert find_config("supervised/phantom") == shipped_folder("configs") / "supervised" / "phantom.yaml"


def test_unknown_config_gets_the_closest_name() -> None:
    with pytest.raises(SettingsError, match="got `supervised/fantom`. Did you mean `supervised/phantom`"):
        find_config("supervised/fantom")


def test_unknown_manifest_gets_the_closest_name() -> None:
    with pytest.raises(SettingsError, match="Did you mean `msd_hippocampus`"):
        find_manifest("msd_hipocampus")
