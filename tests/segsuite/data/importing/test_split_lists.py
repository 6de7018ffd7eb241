from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segsuite.data.importing.found import Imported
from segsuite.data.importing.split_lists import with_split_lists
from segsuite.data.manifest import Case, Manifest
from segsuite.errors import ManifestError


def split(folder: Path, splits: Any, *, use: bool = True) -> Imported:
    (folder / "splits_final.json").write_text(json.dumps(splits))
    cases = [Case(image=f"{name}.nii", label=f"{name}_seg.nii") for name in "abcdef"]
    return with_split_lists(Imported(Manifest(name="m", training=cases)), folder, use=use)


def test_each_case_gets_the_fold_that_scores_it(tmp_path: Path) -> None:
    names = "abcdef"
    imported = split(tmp_path, [{"train": [n for n in names if n not in val], "val": list(val)} for val in ("ab", "cd", "ef")])
    assert [(case.case_id, case.fold) for case in imported.manifest.training] == list(zip(names, [0, 0, 1, 1, 2, 2], strict=True))
    assert imported.findings == []


@pytest.mark.parametrize(
    ("splits", "kept_away"),
    [
        ([{"train": ["a", "b", "c"], "val": ["d"]}], "ef"),
        ([{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}], "def"),
    ],
)
def test_cases_in_no_list_are_never_trained_on(tmp_path: Path, splits: Any, kept_away: str) -> None:
    imported = split(tmp_path, splits)
    for fold in (None, *imported.manifest.folds):
        assert not {case.case_id for case in imported.manifest.split(fold)[0]} & set(kept_away)
    assert [case.case_id for case in imported.manifest.test] == list(kept_away)
    assert imported.findings[0].subjects == tuple(kept_away)
    training, held_out = imported.manifest.split(0)
    assert {case.case_id for case in training} == set(splits[0]["train"])
    assert {case.case_id for case in held_out} == set(splits[0]["val"])


def test_lists_are_passed_over_only_when_asked(tmp_path: Path) -> None:
    imported = split(tmp_path, [{"train": ["a"], "val": ["b"]}], use=False)
    assert len(imported.manifest.training) == 6
    assert "may be trained on" in imported.findings[0].message


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([{"train": ["a", "b"], "val": ["b"]}], "split 0 must train on other cases than it scores, got 1 .* first `b`"),
        (
            [{"train": ["a"], "val": ["b"]}, {"train": ["a"], "val": ["b"]}],
            "score each case in one split, got `b` in `val` of 0 and 1",
        ),
        ([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["c"]}], "leaves out, first `c`|leaves out, first `a`"),
        ([{"train": ["a", "a"], "val": ["b"]}], "must name each case once, got `a` twice in `train`"),
        ([{"train": ["a", "x"], "val": ["b"]}], "must name cases that are there, got 1 others, first `x`"),
        ([{"train": ["a"]}], "split 0 must have the lists `train` and `val`"),
        (["a"], "split 0 must have the lists `train` and `val`"),
        ({"train": ["a"], "val": ["b"]}, r"must hold a list \[...\]"),
    ],
)
def test_lists_that_leak_or_cannot_be_told_are_refused(tmp_path: Path, splits: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        split(tmp_path, splits)
