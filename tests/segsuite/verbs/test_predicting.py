from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segsuite.engines.run_folder import RunFolder
from segsuite.errors import ModelError
from segsuite.verbs.predicting import predict


def test_a_process_that_only_hands_out_cases_does_not_load_torch() -> None:
    code = "import sys, segsuite.verbs.predicting, segsuite.verbs.spreading; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_model_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a model folder with model.json, got no such folder"):
        predict(tmp_path / "gone", [tmp_path], tmp_path / "out", isolate=True)


@pytest.mark.slow
def test_a_process_of_its_own_makes_the_same_masks(tiny_run: RunFolder, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    heard: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for isolate, said in heard.items():
        out = tmp_path / str(isolate)
        outcome = predict(
            tiny_run.model, [images], out, device="cpu", isolate=isolate, on_case=lambda *words, said=said: said.append(words)
        )
        assert outcome.n_done == 6
    assert heard[True] == heard[False]
    for mask in (tmp_path / "True").glob("*.nii.gz"):
        assert mask.read_bytes() == (tmp_path / "False" / mask.name).read_bytes()


@pytest.mark.slow
def test_only_what_is_chosen_is_segmented(tiny_run: RunFolder, tmp_path: Path) -> None:
    images = tiny_run.root / "cohort" / "images"
    outcome = predict(tiny_run.model, [images], tmp_path, choose=lambda cases: list(cases[:1]), device="cpu")
    assert outcome.n_done == 1
    assert predict(tiny_run.model, [images], tmp_path, choose=lambda _: [], device="cpu").n_done == 0
