"""The built wheel holds all that an installation needs, and runs from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_wheel_carries_configs_manifests_and_templates_and_finds_them(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert "segsuite/_shipped/configs/supervised/phantom.yaml" in names
    assert "segsuite/_shipped/data_manifests/msd_hippocampus.json" in names
    assert "segsuite/reports/templates/report.html" in names
    assert "pipelines/supervised/recipe.py" in names
    assert not [name for name in names if name.startswith("tests/")]
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = "import segsuite, sys; print(segsuite.__file__); from segsuite.cli import main; main(['list', '--json'])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "empty", env=environment, check=True, capture_output=True, text=True
    )
    place, listed = result.stdout.split("\n", 1)
    assert place.startswith(str(tmp_path / "site"))
    assert "supervised/phantom" in json.loads(listed)["configs"]
