from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime, demo_pipeline, find_pipeline, find_pipelines


def test_every_folder_is_found() -> None:
    folder = Path(__file__).resolve().parents[2] / "pipelines"
    assert set(find_pipelines()) == {path.parent.name for path in folder.glob("*/__init__.py")}


def test_unknown_pipeline_gets_the_closest_name() -> None:
    with pytest.raises(SettingsError, match="got `superviced`. Did you mean `supervised`"):
        find_pipeline("superviced")


def test_a_folder_pipelines_in_the_working_folder_does_not_shadow_ours(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").touch()
    code = "from segsuite.pipeline import find_pipelines\nfind_pipelines()"
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    result = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "Python must find segsuite's `pipelines` in" in result.stderr
    assert str(tmp_path / "pipelines") in result.stderr


def test_progress_is_optional() -> None:
    heard: list[tuple[str, float, dict[str, float]]] = []
    Runtime().tell("x", 0.5)
    Runtime(progress=lambda *args: heard.append(args)).tell("x", 0.5, loss=1.0)
    assert heard == [("x", 0.5, {"loss": 1.0})]


def test_the_demo_shows_the_pipeline_that_says_so() -> None:
    pipelines = list(find_pipelines().values())
    chosen = [pipeline for pipeline in pipelines if pipeline.is_demo]
    assert len(chosen) <= 1
    assert demo_pipeline() == (chosen or pipelines)[0]
