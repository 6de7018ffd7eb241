"""No two cases share an id, a mask, or what lies beside a mask."""

from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.engines.case_names import distinct
from segsuite.engines.input_case import InputCase
from segsuite.errors import VolumeError


def case(path: str, case_id: str | None = None, output: str | None = None) -> InputCase:
    name = Path(path).name
    stem = name.split(".")[0]
    return InputCase(case_id or stem, (Path("/data") / path,), output or (name if "." in name else f"{name}.nii.gz"))


def names(*cases: InputCase) -> list[tuple[str, str]]:
    return [(one.case_id, one.output) for one in distinct(cases)]


def test_names_that_are_different_stay() -> None:
    assert names(case("a.nii.gz"), case("x/b.nrrd")) == [("a", "a.nii.gz"), ("b", "b.nrrd")]


def test_an_unpacked_copy_beside_its_gz_has_a_mask_of_its_own() -> None:
    found = names(case("a.nii"), case("a.nii.gz"), case("b.nii.gz"))
    assert found == [("a.nii", "a_nii.nii"), ("a.nii.gz", "a_nii_gz.nii.gz"), ("b", "b.nii.gz")]


def test_endings_that_differ_in_capitals_only_stop_nothing() -> None:
    found = names(case("a.NII.gz"), case("a.nii.gz"), case("b.nii.gz"))
    assert found == [("a.NII.gz", "a_NII_gz.nii.gz"), ("a.nii.gz", "a_nii_gz.nii.gz"), ("b", "b.nii.gz")]


def test_a_series_beside_a_file_of_its_name() -> None:
    assert names(case("a"), case("a.nii.gz")) == [("a_series", "a_series.nii.gz"), ("a.nii.gz", "a_nii_gz.nii.gz")]


def test_equal_names_get_their_folders() -> None:
    assert names(case("p1/t/a.nii"), case("p2/t/a.nii")) == [("p1/t/a", "p1/t/a.nii"), ("p2/t/a", "p2/t/a.nii")]


def test_ids_that_are_different_stay_when_only_masks_would_clash() -> None:
    found = names(case("p1/a.nii", "one"), case("p2/a.nii", "two"))
    assert found == [("one", "p1/a.nii"), ("two", "p2/a.nii")]


def test_the_place_of_a_copy_is_where_the_user_has_it() -> None:
    copies = [InputCase("a", (Path(f"/unpacked/{n}/a.nii"),), "a.nii", source=f"/data/{n}.zip/a.nii") for n in (1, 2)]
    assert [one.case_id for one in distinct(copies)] == ["1.zip/a", "2.zip/a"]


def test_the_same_input_twice_is_named() -> None:
    with pytest.raises(VolumeError, match=r"given once, got /data/a.nii several times"):
        distinct([case("a.nii"), case("a.nii")])
