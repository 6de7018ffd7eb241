from __future__ import annotations

from pathlib import Path

import pytest

from segsuite.volumes.formats.endings import image_ending, is_image, mask_name, without_ending


@pytest.mark.parametrize(
    ("name", "ending", "mask"),
    [
        ("a.nii.gz", ".nii.gz", "a.nii.gz"),
        ("SCAN.NII.GZ", ".nii.gz", "SCAN.NII.GZ"),
        ("Mixed.Nii.Gz", ".nii.gz", "Mixed.nii.gz"),
        ("a.seg.nrrd", ".seg.nrrd", "a.seg.nrrd"),
        ("a.nhdr", ".nhdr", "a.nrrd"),
        ("a.mhd", ".mhd", "a.mha"),
        ("sub/a.hdr", ".hdr", "sub/a.nii.gz"),
        ("a.IMG.GZ", ".img.gz", "a.nii.gz"),
        ("a.mgz", ".mgz", "a.mgz"),
        ("series", "", "series.nii.gz"),
        ("a.txt", "", "a.txt.nii.gz"),
    ],
)
def test_endings_and_the_names_of_masks(name: str, ending: str, mask: str) -> None:
    assert image_ending(Path(name)) == ending
    assert mask_name(name) == mask
    assert without_ending(name) == name[: len(name) - len(ending)]


def test_a_pair_is_one_image_and_not_two(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.img", "b.HDR", "b.IMG", "c.img", "d.hdr"):
        (tmp_path / name).touch()
    assert sorted(path.name for path in tmp_path.iterdir() if is_image(path)) == ["a.hdr", "b.HDR", "c.img", "d.hdr"]


def test_an_archive_of_a_scan_has_the_name_of_the_scan() -> None:
    assert without_ending("p1/s.tar.gz") == "p1/s"
    assert mask_name("p1/S.ZIP") == "p1/S.nii.gz"
    assert not is_image(Path("s.zip"))
