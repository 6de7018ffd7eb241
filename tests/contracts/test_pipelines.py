"""What every folder of `pipelines/` must hold, and that the house needs none of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from segsuite.pipeline import find_pipelines
from segsuite.settings import PipelineSettings

ROOT = Path(__file__).resolve().parents[2]
PIPELINES = find_pipelines()
FILES = {"__init__.py", "README.md", "settings.py", "network.py", "losses.py", "module.py", "recipe.py"}


@pytest.mark.parametrize("name", PIPELINES)
class TestEveryPipeline:
    def test_has_the_same_file_names(self, name: str) -> None:
        assert {path.name for path in (ROOT / "pipelines" / name).iterdir()} >= FILES

    def test_is_named_after_its_folder_and_says_what_one_gets(self, name: str) -> None:
        assert PIPELINES[name].name == name
        assert 10 < len(PIPELINES[name].summary) < 120

    def test_every_setting_has_a_sentence(self, name: str) -> None:
        def walk(group: type[PipelineSettings]) -> None:
            for field_name, field in group.model_fields.items():
                if field_name not in ("pipeline", "name", "seed", "data"):
                    assert field.description, f"{group.__name__}.{field_name} has no sentence"
                if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                    walk(field.annotation)

        walk(PIPELINES[name].settings_class)

    def test_recipe_trains_and_predictor_opens(self, name: str) -> None:
        assert callable(PIPELINES[name].recipe.train)
        assert callable(PIPELINES[name].opener.load_predictor)


def test_the_house_names_no_pipeline() -> None:
    names = "|".join(name for name in PIPELINES if name != "supervised")
    if not names:
        return
    for path in (ROOT / "segsuite").rglob("*.py"):
        assert not re.search(names, path.read_text(encoding="utf-8")), path
