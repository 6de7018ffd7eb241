from __future__ import annotations

import json
from pathlib import Path

import pytest

from segsuite.cli import main
from segsuite.engines.run_folder import RunFolder

pytestmark = pytest.mark.slow


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["fewshot", *map(str, words)])
    return int(end.value.code or 0)


def test_register_list_validate_forget(fewshot_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = fewshot_run.root / "cohort" / "manifest.json"
    words = ("--name", "bladder", "--manifest", manifest, "--shots", 3, "--device", "cpu")
    assert run("register", fewshot_run.root / "base_model", *words, "--out", tmp_path / "a") == 0
    assert "6 rectum: base" in capsys.readouterr().out
    assert run("list", tmp_path / "a", "--json") == 0
    entry = json.loads(capsys.readouterr().out)[0]
    assert (entry["name"], entry["shots"]) == ("bladder", 3)
    assert 0 <= entry["expected_dice"] <= 1
    assert run("validate", tmp_path / "a", "--least", 0) == 0
    assert run("validate", tmp_path / "a", "--least", 1) == 2
    capsys.readouterr()
    assert run("validate", tmp_path / "a", "--manifest", manifest, "--least", 0, "--json") == 0
    measured = json.loads(capsys.readouterr().out)[0]
    assert measured["measured_cases"] == 3, "six cases, three of them supports"
    assert 0 <= measured["measured_dice"] == measured["expected_dice"] <= 1
    assert run("forget", tmp_path / "a", "--name", "bladder", "--out", tmp_path / "b") == 0
    assert run("forget", tmp_path / "a", "--name", "blader", "--out", tmp_path / "c") == 1


def test_files_as_supports(fewshot_run: RunFolder, tmp_path: Path) -> None:
    folder = fewshot_run.root / "cohort"
    pair = [folder / part / "phantom_0002.nii.gz" for part in ("images", "labels")]
    words = ("register", fewshot_run.root / "base_model", "--name", "bladder", "--value-in-mask", 5)
    words = (*words, "--image", pair[0], "--mask", pair[1])
    assert run(*words, "--out", tmp_path / "a") == 0
    assert run("register", fewshot_run.root / "base_model", "--name", "bladder", "--out", tmp_path / "b") == 1
