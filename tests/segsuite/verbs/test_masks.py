from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segsuite.errors import OutputError, VolumeError
from segsuite.verbs.masks import Combining, Watch, combine_cases, each_case, relative_to
from segsuite.volumes.reading import read_labels

Write = Callable[..., Path]


def test_one_case_that_fails_costs_no_other() -> None:
    over: list[str] = []

    def action(case_id: str) -> int:
        if case_id == "b":
            raise VolumeError("b is broken")
        return ord(case_id)

    made, findings = each_case(
        ["a", "b", "c"], action, "broken", Watch(2, on_start=lambda n: over.append(str(n)), on_case=over.append)
    )
    assert made == {"a": 97, "c": 99}
    assert [(finding.severity, finding.kind, finding.subjects, finding.message) for finding in findings] == [
        ("error", "broken", ("b",), "b is broken")
    ]
    assert over[0] == "3"
    assert sorted(over[1:]) == ["a", "b", "c"]


def test_maps_are_written_with_their_table(tmp_path: Path, write_nifti: Write) -> None:
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[0] = 1
    files = {"c/1": {"liver": write_nifti(tmp_path / "liver.nii.gz", mask)}}
    made, findings = combine_cases(files, tmp_path / "out", values={"spleen": 1, "liver": 2}, combining=Combining())
    assert made == {"c/1": tmp_path / "out/c/1.nii.gz"}
    np.testing.assert_array_equal(read_labels(made["c/1"]).labels, mask * 2)
    assert (tmp_path / "out/labels.tsv").read_text() == "index\tname\n0\tbackground\n1\tspleen\n2\tliver\n"
    assert findings[-1].message.startswith("Combined for 1 of 1 cases")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/x").write_text("")
    with pytest.raises(OutputError, match="was not made by segsuite"):
        combine_cases(files, tmp_path / "mine", values={"liver": 2}, combining=Combining())
    assert combine_cases(files, tmp_path / "mine", values={"liver": 2}, combining=Combining(overwrite=True))[0]


def test_paths_through_the_shared_folder() -> None:
    assert relative_to(Path("/a/b/c"), Path("/a/d")) == "../b/c"
    assert relative_to(Path("/a/b"), Path("/a/b")) == "."
    assert relative_to(Path("/x/b"), Path("/a/b")) == "/x/b"
