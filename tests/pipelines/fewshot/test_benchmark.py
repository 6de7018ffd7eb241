from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipelines.fewshot.benchmark import ROWS, as_markdown, run_benchmark
from segsuite.data.manifest import read_manifest
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime


def test_a_line_is_the_mean_over_structures_patients_draws_and_folds() -> None:
    rows = [
        {"row": "r", "shots": 1, "draw": 0, "patient": patient, "structure": name, "kind": kind, "dice": dice, "fold": "f"}
        for patient, name, kind, dice in (
            ("a", "x", "novel", 0.2), ("a", "y", "novel", 0.4), ("b", "x", "novel", 0.6), ("b", "y", "novel", 0.8),
            ("a", "z", "base", 0.9), ("b", "z", "base", 0.7),
        )
    ]  # fmt: skip
    line = as_markdown(pd.DataFrame(rows)).splitlines()[-1]
    assert line.startswith("| r | 1 | 0.500 [")
    assert line.endswith("] | 0.800 | 0.615 |")  # 2 * 0.8 * 0.5 / 1.3


@pytest.mark.slow
def test_structures_are_hidden_and_found_again_fold_by_fold(
    fewshot_run: RunFolder, tiny_fewshot: list[str], tmp_path: Path
) -> None:
    manifest = fewshot_run.root / "cohort" / "manifest.json"
    words = [word for word in tiny_fewshot if not word.startswith(("data.phantom", "register_novel"))]
    words += [f"data.manifest={manifest}", "data.phantom=null", "data.fold=0", "register_novel.shots=0"]
    asked = [*words, "benchmark.folds={a: [bladder]}", "benchmark.shots=[1]", "benchmark.draws=1"]
    told: list[str] = []

    def run() -> pd.DataFrame:
        return run_benchmark(
            "fewshot/phantom",
            overrides=asked,
            out=tmp_path / "bench",
            runtime=Runtime(workers=0),
            tell=told.append,
            rows=ROWS[:2],
        )

    scores = run()
    held_out = {case.patient_id for case in read_manifest(manifest).training if case.fold == 0}  # I25: no support among them
    assert set(scores["patient"]) == held_out
    assert set(scores.loc[scores["kind"] == "novel", "structure"]) == {"bladder"}
    supports = (tmp_path / "bench" / "supports.tsv").read_text()
    assert not [case for case in read_manifest(manifest).training if case.fold == 0 and Path(str(case.label)).name in supports]
    told.clear()
    pd.testing.assert_frame_equal(run().reset_index(drop=True), scores.reset_index(drop=True))
    assert told == []
    with pytest.raises(SettingsError, match="`benchmark.folds` must name structures of the manifest, got `blader`. Did you mean"):
        run_benchmark(
            "fewshot/phantom", overrides=[*words, "benchmark.folds={a: [blader]}"], out=tmp_path / "x", runtime=Runtime(),
            tell=told.append,
        )  # fmt: skip
    with pytest.raises(SettingsError, match="must be a config of few-shot segmentation with `benchmark.folds`, got none"):
        run_benchmark("fewshot/phantom", overrides=words, out=tmp_path / "x", runtime=Runtime(), tell=told.append)
    with pytest.raises(SettingsError, match="must hold patients out, got no fold"):
        run_benchmark(
            "fewshot/phantom", overrides=[*asked, "data.fold=null"], out=tmp_path / "x", runtime=Runtime(), tell=told.append
        )
