"""Every shipped config opens with how to run it, validates, and survives being written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from segsuite.settings import as_yaml, validated
from segsuite.shipped import shipped_configs
from segsuite.verbs.runs import load_settings

CONFIGS = shipped_configs()


@pytest.mark.parametrize("name", CONFIGS)
class TestEveryConfig:
    def test_validates_and_round_trips(self, name: str) -> None:
        pipeline, settings = load_settings(name)
        assert name.split("/")[0] == settings.pipeline == pipeline.name
        again = validated(yaml.safe_load(as_yaml(settings)), pipeline.settings_class, source=name)
        assert again == settings

    def test_opens_with_assumptions_and_command(self, name: str) -> None:
        first, second = CONFIGS[name].read_text(encoding="utf-8").splitlines()[:2]
        assert first.startswith("# Assumes")
        assert second.startswith("# Run with:  segsuite ")

    def test_names_no_place_of_a_machine(self, name: str) -> None:
        assert not [
            line for line in CONFIGS[name].read_text(encoding="utf-8").splitlines() if "/home/" in line or "/root/" in line
        ]


def test_every_pipeline_has_a_phantom_config() -> None:
    pipelines = {path.parent.name for path in (Path(__file__).resolve().parents[2] / "pipelines").glob("*/__init__.py")}
    assert {f"{name}/phantom" for name in pipelines} <= set(CONFIGS)
