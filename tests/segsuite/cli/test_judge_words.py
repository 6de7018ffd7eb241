from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from segsuite.cli import judge_words
from segsuite.engines.run_folder import RunFolder
from segsuite.metrics.per_case import SURFACES
from segsuite.reports.conventions import CONVENTIONS
from segsuite.verbs.evaluating import BODY_AXES

pytestmark = pytest.mark.slow
Command = Callable[..., tuple[int, str, str]]


def test_compare_says_what_can_be_claimed(segsuite: Command, tiny_run: RunFolder) -> None:
    code, out, err = segsuite("compare", tiny_run.root, tiny_run.evaluation, "--metric", "dice", "--json")
    assert code == 0
    assert {row["n_cases"] for row in json.loads(out)} == {2}
    assert "no difference in dice can be claimed" in err


def test_missing_predictions_exit_with_2_and_3(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    references = tiny_run.root / "cohort" / "labels"
    assert segsuite("evaluate", tiny_run.predictions, references, "--out", tmp_path / "a", "-j", 1)[0] == 2
    (tmp_path / "none").mkdir()
    assert segsuite("evaluate", tmp_path / "none", references, "--out", tmp_path / "b", "-j", 1)[0] == 3


def test_everything_that_can_be_asked_for_at_once(segsuite: Command, cohort_folder: Path, tmp_path: Path) -> None:
    labels = shutil.copytree(cohort_folder / "labels", tmp_path / "predictions")
    (labels / "phantom_0001.nii.gz").unlink()
    (tmp_path / "known.tsv").write_text("case\tsite\nphantom_0000\tA\nphantom_0001\tB\n")
    words = [
        "--by",
        "site",
        "--attributes",
        tmp_path / "known.tsv",
        "--surface",
        "area",
        "--thirds",
        "--axis",
        "back-front",
        "-j",
        1,
    ]
    words += ["--topology", "transition_zone", "--tubes", "distal_prostatic_urethra", "--instances", "peripheral_zone"]
    words += ["--convention", "segsuite", "--convention", "monai", "--convention", "nnunet"]
    code, _, err = segsuite("evaluate", labels, cohort_folder / "manifest.json", "--out", tmp_path / "evaluation", *words)
    assert code == 2
    assert "case phantom_0001, dice: peripheral_zone is without a prediction: monai leaves it out" in err
    assert "case phantom_0001 counts as missed: no prediction of this name" in err
    assert (tmp_path / "evaluation" / "conventions.csv").is_file()
    code, _, err = segsuite("report", tmp_path)
    assert code == 0
    assert "By site" in (tmp_path / "report.html").read_text()
    code, _, err = segsuite(
        "evaluate", labels, cohort_folder / "manifest.json", "--out", tmp_path / "b", "--probabilities", "-j", 1
    )
    assert code == 1
    assert "Predict with --save-probabilities" in err


def test_choices_are_what_the_house_knows() -> None:
    """The command line spells them out, because help must load nothing heavy."""
    assert [rules.value for rules in judge_words.Rules] == list(CONVENTIONS)
    assert [surface.value for surface in judge_words.Surface] == list(SURFACES)
    assert [axis.value for axis in judge_words.Axis] == list(BODY_AXES)


def test_saved_probabilities_are_judged(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    manifest = tiny_run.root / "cohort" / "manifest.json"
    words = ("--fold", 0, "--out", tmp_path / "masks", "--save-probabilities", "-q")
    assert segsuite("predict", tiny_run.model, manifest, *words)[0] == 0
    words = ("--fold", 0, "--out", tmp_path / "evaluation", "--probabilities", "-j", 1, "--json")
    code, out, _ = segsuite("evaluate", tmp_path / "masks", manifest, *words)
    assert code == 0
    assert 0 < json.loads(out)["structures"]["transition_zone"]["brier"]["mean"] < 1
    assert set(pd.read_csv(tmp_path / "evaluation" / "calibration.csv")["bin"]) == set(range(10))


def test_three_evaluations_are_ranked_and_seeds_are_told_apart(segsuite: Command, tiny_run: RunFolder, tmp_path: Path) -> None:
    runs = [tmp_path / setting / f"seed{n}" for setting in ("a", "b") for n in (0, 1)]
    for run in runs:
        shutil.copytree(tiny_run.evaluation, run / "evaluation")
    code, _, err = segsuite("compare", *runs[:3], "--metric", "dice")
    assert code == 0
    assert "ranking by dice: Kendall's tau" in err
    code, out, err = segsuite("compare", tmp_path / "a", tmp_path / "b", "--seeds", "--metric", "dice", "--json")
    assert code == 0
    assert len(json.loads(out)) == 4
    assert "within seed noise" in err


def test_view_and_overlay(segsuite: Command, cohort_folder: Path, tmp_path: Path) -> None:
    image, mask = (sorted((cohort_folder / kind).iterdir())[0] for kind in ("images", "labels"))
    assert segsuite("view", image, mask, mask, "--out", tmp_path / "new" / "v.html")[0] == 0
    assert (tmp_path / "new" / "v.html").stat().st_size > 2e6
    code, _, err = segsuite("view", image, "--out", tmp_path / "v.png")
    assert code == 1
    assert "--out must end with .html, got `v.png`" in err
    assert segsuite("overlay", image, "--mask", mask, "--out", tmp_path / "o.png")[0] == 0


def test_a_killed_evaluation_goes_on_to_the_same_tables(cohort_folder: Path, tmp_path: Path) -> None:
    references = tmp_path / "references"
    references.mkdir()
    for number in range(40):
        os.link(sorted((cohort_folder / "labels").iterdir())[number % 6], references / f"c{number:02d}.nii.gz")
    start = [sys.executable, "-m", "segsuite", "evaluate", str(references), str(references), "-q", "-j", "1", "--out"]
    process = subprocess.Popen([*start, str(tmp_path / "killed")])
    journal = tmp_path / "killed" / ".evaluated.partial"
    while process.poll() is None and not (journal.is_file() and journal.read_text().count("\n") >= 4):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert journal.is_file(), "it was killed before its end"
    for name in ("killed", "whole"):
        subprocess.run([*start, str(tmp_path / name)], check=True)
    for table in ("metrics_per_case.csv", "metrics_summary.json"):
        assert (tmp_path / "killed" / table).read_bytes() == (tmp_path / "whole" / table).read_bytes()
    assert not list((tmp_path / "killed").glob(".*"))


def test_what_an_evaluation_passes_over_is_said(segsuite: Command, cohort_folder: Path, tmp_path: Path) -> None:
    references = Path(shutil.copytree(cohort_folder / "labels", tmp_path / "references"))
    for name in ("phantom_0001", "phantom_0003"):
        (references / f"{name}.nii.gz").write_bytes(b"damaged")
    (tmp_path / "labels.tsv").write_text("index\tname\n1\tone\n2\ttwo\n3\tthree\n")
    words = ("--labels", tmp_path / "labels.tsv", "-j", 1)
    code, _, err = segsuite("evaluate", cohort_folder / "labels", references, "--out", tmp_path / "e", *words)
    assert code == 2
    assert "note: predictions hold 4, which is no declared structure and is not scored: cases phantom_0000" in err
    assert "case phantom_0001 does not count: the reference cannot be used" in err
    assert "case phantom_0003 does not count: the reference cannot be used" in err
    (tmp_path / "e" / "summary.md").write_text("my own words")
    code, _, err = segsuite("evaluate", cohort_folder / "labels", references, "--out", tmp_path / "e", *words)
    assert code == 1
    assert "got summary.md, which were changed since they were written" in err
    assert segsuite("evaluate", cohort_folder / "labels", references, "--out", tmp_path / "e", "--overwrite", *words)[0] == 2
