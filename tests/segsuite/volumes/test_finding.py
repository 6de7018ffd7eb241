"""A folder as people have it: series with and without endings, reports, documents, links, what may not be seen."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from segsuite.errors import VolumeError
from segsuite.volumes import finding
from segsuite.volumes.finding import SeriesChoice, find_images, left_out_text
from tests.folders import refuse_to_list, touch
from tests.slices import save, save_series, slice_data, uid


def names(folder: Path, **how: object) -> list[str]:
    return [image.relative for image in find_images(folder, **how).images]  # type: ignore[arg-type]


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A disc of an archive: two series and a localiser in one folder, one nested, beside a directory, a report and a document."""
    folder = tmp_path / "disc"
    save_series(folder / "DICOM/A", name="IM{:06d}", series="t2", SeriesNumber=4, SeriesDescription="T2 TSE")
    save_series(folder / "DICOM/A", name="JM{:06d}", series="t1", SeriesNumber=2, SeriesDescription="T1")
    save_series(folder / "DICOM/A", name="L{}", series="loc", n_slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save_series(folder / "DICOM/B/C", name="{}.ima", series="dwi")
    save(slice_data(SOPClassUID="1.2.840.10008.1.3.10", Rows=None), folder / "DICOMDIR")
    touch(folder, "report.pdf", "notes.doc", "letter.doc", "scan.nii.gz", ".hidden.nii.gz", "viewer/start.exe", "README")
    return folder


def test_a_case_per_series_beside_everything_else(disc: Path) -> None:
    search = find_images(disc)
    assert [image.relative for image in search.images] == ["DICOM/A/2_T1", "DICOM/A/4_T2_TSE", "DICOM/B/C", "scan.nii.gz"]
    assert [image.is_series for image in search.images] == [True, True, True, False]
    assert left_out_text(search.left_out) == (
        "left out: 1 DICOM file (directory), 2 files ending in .doc, 1 file ending in .exe, 1 file ending in .pdf, "
        "1 file without ending, 1 hidden file, 1 localiser series"
    )


def test_series_are_chosen(disc: Path) -> None:
    assert names(disc, choice=SeriesChoice(description="*t2*")) == ["DICOM/A/4_T2_TSE", "scan.nii.gz"]
    assert names(disc, choice=SeriesChoice(uid=uid("dwi"))) == ["DICOM/B/C", "scan.nii.gz"]
    assert find_images(disc, choice=SeriesChoice(uid=uid("loc"))).left_out["series not chosen"] == 3


def test_the_only_series_of_the_folder_itself_has_an_empty_name(tmp_path: Path) -> None:
    save_series(tmp_path / "ser")
    (found,) = find_images(tmp_path / "ser").images
    assert (found.relative, found.path) == ("", tmp_path / "ser")


def test_parts_of_a_series_in_several_folders_are_one_case(tmp_path: Path) -> None:
    for number in range(4):
        save(slice_data(number), tmp_path / "p" / ("x" if number < 2 else "y") / f"IM{number}")
    assert [(image.path, image.problem) for image in find_images(tmp_path).images] == [(tmp_path / "p", "")]
    for number in range(4):
        save(slice_data(number, series="other", SeriesNumber=9), tmp_path / "p" / ("x" if number < 2 else "y") / f"O{number}")
    found = find_images(tmp_path).images
    assert [image.relative for image in found] == ["p/3", "p/9"]
    assert all("in x, y. Put them into one folder" in image.problem for image in found)


def test_links_are_followed_once_and_lead_nowhere_twice(tmp_path: Path) -> None:
    touch(tmp_path, "store/P0/img.nii.gz", "study/P1/img.nii.gz")
    (tmp_path / "study/P0").symlink_to(tmp_path / "store/P0")
    (tmp_path / "study/P0again").symlink_to(tmp_path / "store/P0")
    (tmp_path / "study/P1/up").symlink_to(tmp_path / "study")
    (tmp_path / "study/P2.nii.gz").symlink_to(tmp_path / "never fetched")
    search = find_images(tmp_path / "study")
    assert [image.relative for image in search.images] == ["P0/img.nii.gz", "P1/img.nii.gz", "P2.nii.gz"]
    assert search.left_out == Counter({"link to a folder that is searched anyway": 2})


def test_folders_that_cannot_be_listed_are_passed_over_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.nii.gz", "lost+found/b.nii.gz")
    refuse_to_list(monkeypatch, "lost+found")
    search = find_images(tmp_path)
    assert [image.relative for image in search.images] == ["a.nii.gz"]
    assert left_out_text(search.left_out) == "left out: 1 folder that cannot be listed"
    with pytest.raises(VolumeError, match=r"lost\+found must be a folder that can be listed, got: permission denied"):
        find_images(tmp_path / "lost+found")


def test_what_the_caller_leaves_out_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "masks/a.nii.gz", "b.nii.gz", "c.zip")
    search = find_images(
        tmp_path,
        leave_out=lambda path: {"masks": "masks of ours", "b.nii.gz": "mask of ours"}.get(path.name, ""),
        archive_endings=[".zip"],
    )
    assert [image.relative for image in search.images] == ["a.nii.gz"]
    assert search.left_out == Counter({"folder (masks of ours)": 1, "mask of ours": 1})
    assert [archive.relative for archive in search.archives] == ["c.zip"]


def test_pipes_named_like_images_are_listed_and_others_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii.gz")
    os.mkfifo(tmp_path / "IM1")
    assert names(tmp_path) == ["a.nii.gz"]


def test_a_folder_whose_files_break_their_reader_is_an_image_with_a_problem_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.nii.gz", "broken/1.dcm", "z/b.nii.gz")
    honest = finding.look_into

    def look_into(folder: Path) -> object:
        if folder.name == "broken":
            raise NotImplementedError("an explicit length of 7")
        return honest(folder)

    monkeypatch.setattr(finding, "look_into", look_into)
    images = {image.relative: image.problem for image in find_images(tmp_path).images}
    assert images["broken"].startswith("NotImplementedError: an explicit length of 7. It came while its files were looked at.")
    assert (images["a.nii.gz"], images["z/b.nii.gz"]) == ("", "")


def test_what_cannot_be_read_is_not_said_to_be_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x")
    (tmp_path / "IM1").symlink_to(tmp_path / "gone")
    assert find_images(tmp_path).left_out == {"file without ending": 1, "file that cannot be read": 1}
