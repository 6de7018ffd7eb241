from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipelines.fewshot.benchmark import ROWS, run_benchmark
from segsuite.data.manifest import read_manifest
from segsuite.engines.run_folder import RunFolder
from segsuite.errors import SettingsError
from segsuite.pipeline import Runtime


@pytest.mark.slow
def test_structures_are_hidden_and_found_again_fold_by_fold(
    fewshot_run: RunFolder, tiny_fewshot: list[str], tmp_path: Path
) -> None:
    manifest = fewshot_run.root / "cohort" / "manifest.json"
    words = [word for word in tiny_fewshot if not word.startswith(("data.phantom", "register_novel"))]
    words += [f"data.manifest={manifest}", "data.phantom=null", "data.fold=0", "register_novel.shots=0"]
    asked = [*words, "benchmark.folds={a: [bladder]}", "benchmark.shots=[1]", "benchmark.draws=1", "foreground.weight=1"]
    blended = next(row for row in ROWS if row.rule.rule == "blended")
    told: list[str] = []

    def run() -> pd.DataFrame:
        return run_benchmark(
            "fewshot/phantom",
            overrides=asked,
            out=tmp_path / "bench",
            runtime=Runtime(workers=0),
            tell=told.append,
            rows=[*ROWS[:2], blended],
        )

    scores = run()
    held_out = {case.patient_id for case in read_manifest(manifest).training if case.fold == 0}  # I25: no support among them
    assert set(scores["patient"]) == held_out
    assert set(scores.loc[scores["kind"] == "novel", "structure"]) == {"bladder"}
    base = scores[scores["kind"] == "base"].groupby("row")["dice"].apply(list)
    assert base[ROWS[0].name] != base[blended.name], "the peer moves base kernels, ours does not"
    areas = pd.read_csv(tmp_path / "bench" / "objects_a.tsv", sep="\t")
    assert set(areas["patient"].astype(str)) == held_out
    assert areas["area"].between(0, 1).all()
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
