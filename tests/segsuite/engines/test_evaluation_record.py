from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from segsuite.engines.evaluation_record import RECORD, definition_of, read_definition, require_own, sign, write_record
from segsuite.errors import OutputError, VolumeError
from segsuite.metrics.per_case import Scoring

SCORING = Scoring({1: "a", 2: "b"}, (2.0, 1.0))
HEAD = "case,patient_id,diagonal_mm,predicted,reference,image,reason,missing\n"


def test_the_definition_holds_what_changes_numbers(tmp_path: Path) -> None:
    write_record(tmp_path, SCORING, notes=["n"])
    found = read_definition(tmp_path)
    assert found == definition_of(SCORING)
    assert found["tolerances_mm"] == [1.0, 2.0]
    assert found["least_iou"] is None, "no separate objects were counted"
    for other in (
        replace(SCORING, surface="area"),
        replace(SCORING, tolerances_mm=(1.0,)),
        replace(SCORING, structures={1: "a"}),
        replace(SCORING, structures={1: "a", "2+3": "b"}),
        replace(SCORING, ignore_label=9),
        replace(SCORING, instance_labels=(1,)),
        replace(SCORING, thirds=True),
    ):
        assert definition_of(other) != found
    assert definition_of(replace(SCORING, least_iou=0.5)) == found


def test_folders_of_earlier_versions_have_none_and_others_are_refused(tmp_path: Path) -> None:
    assert read_definition(tmp_path) is None
    (tmp_path / RECORD).write_text('{"mine": 1}')
    with pytest.raises(VolumeError, match="must be the record of an evaluation"):
        read_definition(tmp_path)


@pytest.mark.parametrize("content", ["[1]", "{", "[" * 100_000])
def test_a_record_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_text(content)
    with pytest.raises(VolumeError, match="must be the record of an evaluation, got something else"):
        read_definition(tmp_path)


def test_a_users_own_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,age\na,70\n")
    (tmp_path / "summary.md").write_text("# My summary\n")
    with pytest.raises(OutputError, match=r"got cases.csv, summary.md, which no evaluation wrote.*--overwrite"):
        require_own(tmp_path, inputs=[], overwrite=False)
    require_own(tmp_path, inputs=[], overwrite=True)


def test_own_files_are_known_by_their_hash_or_by_how_they_begin(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(HEAD)
    (tmp_path / "summary.md").write_text("| structure | cases |\n")
    require_own(tmp_path, inputs=[], overwrite=False)
    write_record(tmp_path, SCORING, notes=[])
    require_own(tmp_path, inputs=[], overwrite=False)
    (tmp_path / "summary.md").write_text("| structure | cases |\n\nWhat I make of it: ...\n")
    with pytest.raises(OutputError, match=r"got summary.md, which were changed since they were written"):
        require_own(tmp_path, inputs=[], overwrite=False)


def test_what_is_added_later_is_signed(tmp_path: Path) -> None:
    sign(tmp_path, ["conventions.csv"])
    assert not (tmp_path / RECORD).exists()
    write_record(tmp_path, SCORING, notes=[])
    (tmp_path / "conventions.csv").write_text("x")
    sign(tmp_path, ["conventions.csv"])
    assert list(json.loads((tmp_path / RECORD).read_text())["files"]) == ["conventions.csv"]
    require_own(tmp_path, inputs=[], overwrite=False)


def test_an_input_is_never_replaced_whatever_is_asked(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,site\n")
    (tmp_path / "link.csv").symlink_to("cases.csv")
    with pytest.raises(OutputError, match=r"must not replace an input, got .*link.csv"):
        require_own(tmp_path, inputs=[tmp_path / "link.csv"], overwrite=True)
