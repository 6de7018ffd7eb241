from __future__ import annotations

from pathlib import Path

from segsuite.engines.inputs import InputCase
from segsuite.engines.sources import is_mark_of, mark_of, source_of


def test_a_mark_knows_its_place_and_does_not_give_it_away(tmp_path: Path) -> None:
    case = InputCase("a", (tmp_path / "Doe_John" / "a.nii.gz",), "a.nii.gz")
    source = source_of(case)
    marks = {mark_of(source) for _ in range(3)}
    assert len(marks) == 3
    assert all(is_mark_of(mark, source) and not is_mark_of(mark, f"{source}x") for mark in marks)
    assert not is_mark_of("", source)
    assert all(len(mark) == 24 and "Doe" not in mark for mark in marks)


def test_a_link_is_what_it_points_to_and_a_copy_is_its_original(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "a.nii.gz")
    linked = InputCase("a", (tmp_path / "link.nii.gz",), "a.nii.gz")
    assert source_of(linked) == str((tmp_path / "a.nii.gz").resolve())
    assert source_of(InputCase("a", (Path("/tmp/copy.nii.gz"),), "a.nii.gz", source="/data/a.nii.gz")) == "/data/a.nii.gz"


def test_a_name_that_no_file_can_have_has_a_mark() -> None:
    source = source_of(InputCase("a", (Path("a\0.nii.gz"), Path("\ud800.nii.gz")), "a.nii.gz"))
    assert is_mark_of(mark_of(source), source)
