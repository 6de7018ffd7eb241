from __future__ import annotations

import json
from pathlib import Path

import pytest

from segsuite.data.manifest import read_manifest
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.verbs.runs import fold_overrides, load_settings


def test_meaning_of_fold(cohort_folder: Path) -> None:
    words = [f"data.manifest={cohort_folder / 'manifest.json'}"]
    assert fold_overrides("supervised/default", words, "2") == (["data.fold=2"], None)
    assert fold_overrides("supervised/default", words, "none") == (["data.fold=null"], None)
    assert fold_overrides("supervised/default", words, "all") == ([], [0, 1, 2])
    assert fold_overrides("supervised/default", words, None) == (["data.fold=0"], None)
    with pytest.raises(SettingsError, match="--fold must be a number, all or none, got `some`"):
        fold_overrides("supervised/default", words, "some")


def test_config_without_pipeline(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("name: x\n")
    with pytest.raises(SettingsError, match="must begin with `pipeline: NAME`, got None"):
        load_settings(str(tmp_path / "c.yaml"))


@pytest.mark.slow
def test_demo_leaves_a_complete_run_folder(tiny_run: RunFolder) -> None:
    names = {path.name for path in tiny_run.root.iterdir()}
    assert names >= {
        "settings.yaml", "versions.json", "checkpoints", "model", "predictions", "evaluation", "report.html", "cohort",
    }  # fmt: skip
    assert (tiny_run.predictions / "ledger.jsonl").is_file()
    summary = json.loads((tiny_run.evaluation / "metrics_summary.json").read_text())
    assert summary["n_expected"] == 2
    assert summary["n_without_prediction"] == 0
    masks = {path.name for path in tiny_run.predictions.rglob("*.nii.gz")}
    held_out = [case for case in read_manifest(tiny_run.root / "cohort" / "manifest.json").training if case.fold == 0]
    assert masks == {Path(case.images[0]).name for case in held_out}
