"""Each scan is segmented by the member that has not seen it; scans and members are told by content, not by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from segsuite.engines.inputs import find_inputs
from segsuite.engines.ledger import read_ledger
from segsuite.engines.model_folder import write_ensemble, write_model_folder
from segsuite.engines.prediction import Outcome
from segsuite.engines.seen_scans import training_scans
from segsuite.errors import ModelError
from segsuite.verbs import out_of_fold
from segsuite.volumes.reading import read_volume
from segsuite.volumes.voxel_hash import voxel_hash

SHARED = {"pipeline": "supervised", "labels": {"background": 0, "a": 1}, "preprocessing": {}, "channels": {"0": "T2"}}


@pytest.fixture
def scans(write_nifti: Callable[..., Path], tmp_path: Path) -> dict[str, Path]:
    draw = np.random.default_rng(0)
    return {name: write_nifti(tmp_path / "scans" / f"{name}.nii.gz", draw.normal(size=(5, 5, 5))) for name in "abcde"}


def model(folder: Path, *seen: Path, knows: bool = True) -> Path:
    data = training_scans(voxel_hash(read_volume(path)) for path in seen) if knows else {}
    write_model_folder(folder, weights={"w": torch.zeros(1)}, description={**SHARED, "name": folder.name, "data": data}, card="")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Which model was asked for which cases."""
    found: list[tuple[str, list[str]]] = []

    def predict(place: Path, inputs: Any, out: Path, *, choose: Any, on_case: Any, **how: Any) -> Outcome:
        cases = find_inputs(inputs, n_channels=1)
        chosen = [case.case_id for case in choose(cases)]
        found.append((place.name, chosen))
        return Outcome(len(chosen), 1, {case: "broken" for case in chosen if case == "cut"}, n_left=how.get("left", 0))

    monkeypatch.setattr(out_of_fold, "predict", predict)
    return found


def test_each_scan_goes_to_the_member_that_has_not_seen_it(
    scans: dict[str, Path], asked: list[tuple[str, list[str]]], tmp_path: Path
) -> None:
    """``d`` was held out by nobody, ``e`` was in no training, and one file cannot be read."""
    members = [
        model(tmp_path / "0", scans["b"], scans["c"], scans["d"]),
        model(tmp_path / "1", scans["a"], scans["c"], scans["d"]),
        model(tmp_path / "2", scans["a"], scans["b"], scans["d"]),
    ]
    ensemble = write_ensemble(tmp_path / "all", members, card="").path
    (tmp_path / "scans" / "cut.nii.gz").write_bytes(b"\x1f\x8b")
    told: dict[str, str] = {}
    outcome = out_of_fold.predict_out_of_fold(ensemble, [tmp_path / "scans"], tmp_path / "out", on_case=told.__setitem__)
    assert dict(asked) == {"0": ["a", "cut"], "1": ["b"], "2": ["c"], "all": ["e"]}
    assert (outcome.n_done, outcome.n_skipped, set(outcome.failures)) == (5, 4, {"cut", "d"})
    assert told == {"d": outcome.failures["d"]}
    assert "every member of the model was trained on this scan" in read_ledger(tmp_path / "out")["d"].reason


def test_what_cannot_know_is_refused(scans: dict[str, Path], asked: list[tuple[str, list[str]]], tmp_path: Path) -> None:
    single = model(tmp_path / "0", scans["a"])
    with pytest.raises(ModelError, match="must have an ensemble of folds, got the single model .*/0. Train with --fold all"):
        out_of_fold.predict_out_of_fold(single, [tmp_path / "scans"], tmp_path / "out")
    old = write_ensemble(tmp_path / "all", [single, model(tmp_path / "1", knows=False)], card="").path
    with pytest.raises(ModelError, match="got .*/members/1, which was made by an earlier version. Predict fold by fold"):
        out_of_fold.predict_out_of_fold(old, [tmp_path / "scans"], tmp_path / "out")
    assert not asked
