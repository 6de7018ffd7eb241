from __future__ import annotations

import json
from pathlib import Path

import pytest

from segsuite.data.manifest import read_manifest
from segsuite.engines.model_folder import read_model_folder
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError, SettingsError
from segsuite.pipeline import Runtime
from segsuite.verbs.runs import fold_overrides, load_settings, train


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


@pytest.mark.slow
def test_folds_side_by_side_become_an_ensemble(cohort_folder: Path, tiny_overrides: list[str], tmp_path: Path) -> None:
    words = [
        f"data.manifest={cohort_folder / 'manifest.json'}",
        *(word for word in tiny_overrides if not word.startswith("data.")),
    ]
    words = ["training.max_steps=2" if word.startswith("training.max_steps=") else word for word in words]
    told: list[float] = []
    runtime = Runtime("cpu", 0, lambda doing, share, numbers: told.append(share))
    run = train("supervised/default", overrides=words, out=tmp_path / "run", folds=[0, 2], at_once=2, runtime=runtime)
    members = read_model_folder(run.model).members
    assert [json.loads((member / "model.json").read_text())["data"]["fold"] for member in members] == [0, 2]
    assert (tmp_path / "run" / "fold_2" / "report.html").is_file()
    assert told[-1] == 1.0


@pytest.mark.slow
def test_a_fold_that_fails_is_named_and_no_ensemble_is_written(cohort_folder: Path, tmp_path: Path) -> None:
    words = [f"data.manifest={cohort_folder / 'manifest.json'}", "training.max_steps=0"]
    with pytest.raises(ModelError, match=r"All 2 folds must be trained, but 2 failed: fold_0: .*max_steps.*fold_0.log"):
        train("supervised/default", overrides=words, out=tmp_path / "run", folds=[0, 1], at_once=2, runtime=Runtime("cpu", 0))
    assert not (tmp_path / "run" / "model").exists()


def test_one_training_has_nothing_to_spread(cohort_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="--at-once and --engine must have several folds"):
        train("supervised/default", out=tmp_path / "run", at_once=2, runtime=Runtime("cpu", 0))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="--at-once must be 1 where 2 processes share one training, got 2"):
        train("supervised/default", out=tmp_path / "run", folds=[0, 1], at_once=2, runtime=Runtime("cpu", 0))
