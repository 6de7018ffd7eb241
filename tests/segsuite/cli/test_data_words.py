from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segsuite.engines.run_folder import RunFolder

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_import_check_split_plan(segsuite: Command, cohort_folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.json"
    assert (
        segsuite("manifest", "import", cohort_folder, "--out", manifest, "--labels", "labels/*", "--images", "images/*")[0] == 0
    )
    assert segsuite("manifest", "check", manifest)[0] == 0
    code, out, _ = segsuite("manifest", "split", manifest, "--folds", 3, "--json")
    assert code == 0
    assert [row["cases"] for row in json.loads(out)] == [2, 2, 2]
    code, out, _ = segsuite("plan", manifest, "--json", "--device", "cpu")
    assert code == 0
    assert json.loads(out)["plan"]["patch_size"]


def test_findings_are_a_table_and_an_exit_code(segsuite: Command, cohort_folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort_folder, tmp_path / "data"))
    (root / "images" / "phantom_0003.nii.gz").write_bytes(b"x" * 50)
    code, out, err = segsuite("manifest", "check", root / "manifest.json", "--json")
    assert code == 1
    assert [finding["case"] for finding in json.loads(out)] == ["phantom_0003"]
    assert "1 errors, 0 warnings" in err


@pytest.mark.slow
def test_cache_gc_says_what_it_did(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    cache = shutil.copytree(tiny_run.root / "cache", tmp_path / "cache")
    code, out, err = segsuite("cache", "gc", cache, "--idle", 0, "--json")
    assert code == 0
    assert json.loads(out)["n_removed"] == 6
    assert "6 cases removed" in err
    assert segsuite("cache", "gc", tmp_path)[0] == 1
