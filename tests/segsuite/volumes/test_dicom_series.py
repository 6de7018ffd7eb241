"""Which files are slices of which series: several in a folder, damaged ones, several folders, copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from segsuite.errors import VolumeError
from segsuite.volumes.dicom_series import join_parts, look_into, series_at
from tests.slices import save, save_series, slice_data, uid

STORAGE = "1.2.840.10008.5.1.4.1.1."


def test_each_series_of_a_folder_is_found_and_the_rest_is_counted(tmp_path: Path) -> None:
    save_series(tmp_path, name="A{}", series="a", SeriesNumber=7, SeriesDescription="T2 TSE (tra)")
    save_series(tmp_path, name="B{}", series="b", n_slices=2, SeriesNumber=2)
    save(slice_data(SOPClassUID=f"{STORAGE}88.11", Rows=None), tmp_path / "R1")
    (tmp_path / "readme").write_text("text")
    found = look_into(tmp_path)
    assert [(one.label, len(one.files)) for one in found.series] == [("2", 2), ("7_T2_TSE_tra", 4)]
    assert dict(found.left_out) == {"DICOM file (report)": 1}
    assert str(tmp_path / "readme") not in found.files


def test_a_file_names_its_series(tmp_path: Path) -> None:
    save_series(tmp_path, name="A{}", series="a")
    save_series(tmp_path, name="B{}", series="b", n_slices=2)
    assert series_at(tmp_path / "B1").uid == uid("b")
    with pytest.raises(VolumeError, match=r"must hold one series, got 2: .*3, 4 files.* --series-uid"):
        series_at(tmp_path)
    assert len(series_at(tmp_path, series_uid=uid("a")).files) == 4
    with pytest.raises(VolumeError, match="must hold series 9.9, got"):
        series_at(tmp_path, series_uid="9.9")
    with pytest.raises(VolumeError, match="must be of series 9.9"):
        series_at(tmp_path / "B1", series_uid="9.9")


def test_a_localiser_beside_a_series_does_not_count(tmp_path: Path) -> None:
    save_series(tmp_path, name="A{}", series="a")
    save_series(tmp_path, name="L{}", series="l", n_slices=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert series_at(tmp_path).uid == uid("a")
    assert series_at(tmp_path, series_uid=uid("l")).localiser


@pytest.mark.parametrize("damage", [b"", b"\0" * 500, "half of the header"])
@pytest.mark.parametrize("name", ["IM{:04d}", "{}.dcm"])
def test_a_damaged_slice_fails_its_series_although_nothing_in_it_says_which(
    tmp_path: Path, damage: bytes | str, name: str
) -> None:
    save_series(tmp_path, name=name)
    first = tmp_path / name.format(1)
    first.write_bytes(first.read_bytes()[:700] if isinstance(damage, str) else damage)
    with pytest.raises(VolumeError, match=f"must hold readable slices only, got: .*{first.name} must"):
        series_at(tmp_path)


def test_a_damaged_slice_that_still_has_its_series_in_it_costs_only_that(tmp_path: Path) -> None:
    save_series(tmp_path / "m", name="A{}", series="a")
    save_series(tmp_path / "m", name="B{}", series="b")
    cut = tmp_path / "m" / "B1"
    content = cut.read_bytes()
    cut.write_bytes(content[: content.index(uid("b").encode(), 400) + 70])
    assert series_at(tmp_path / "m" / "A1").uid == uid("a")
    with pytest.raises(VolumeError, match="B1 must"):
        series_at(tmp_path / "m" / "B2")


def test_a_series_spread_over_folders_is_one_and_copies_are_two(tmp_path: Path) -> None:
    for number in range(4):
        save(slice_data(number), tmp_path / ("x" if number % 2 else "y") / f"{number}")
    assert len(series_at(tmp_path).files) == 4
    shutil.copytree(tmp_path / "x", tmp_path / "z")
    parts = [one for name in "xyz" for one in look_into(tmp_path / name).series]
    assert sorted(len(one.files) for one in join_parts(parts)) == [2, 4]


def test_a_part_of_a_series_that_a_link_leads_to_is_not_left_away(tmp_path: Path) -> None:
    for number in range(4):
        save(slice_data(number), tmp_path / ("store/x" if number < 2 else "study/y") / f"IM{number}")
    (tmp_path / "study" / "x").symlink_to(tmp_path / "store" / "x")
    (tmp_path / "study" / "y" / "up").symlink_to(tmp_path / "study")
    assert len(series_at(tmp_path / "study").files) == 4


def test_what_changes_in_a_folder_is_seen_in_the_same_process(tmp_path: Path) -> None:
    save_series(tmp_path, n_slices=2)
    assert len(series_at(tmp_path).files) == 2
    save_series(tmp_path, n_slices=3)
    assert len(series_at(tmp_path).files) == 3


def test_what_is_no_series(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="must hold the slices of a DICOM series, got none"):
        series_at(tmp_path)
    with pytest.raises(VolumeError, match="must be a DICOM image, got a DICOM file .report"):
        series_at(save(slice_data(SOPClassUID=f"{STORAGE}88.11", Rows=None), tmp_path / "a"))


def test_a_file_that_only_begins_like_dicom_is_no_damaged_series(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00" + b"weights " * 50)
    assert look_into(tmp_path).series == ()
    save_series(tmp_path)
    assert len(series_at(tmp_path).files) == 4


def test_series_without_identifier_are_one_by_folder(tmp_path: Path) -> None:
    save_series(tmp_path, SeriesInstanceUID=None, SeriesNumber=None)
    found = series_at(tmp_path)
    assert (found.uid, found.label, len(found.files)) == ("", "series", 4)
